//! What destroyed data is found with the position right before it, whatever lies around it; a cut at that position has all that was there.

use super::*;
use tair_backup_mcp::archive::Destruction;

#[test]
fn what_destroyed_data_is_told_with_its_position() {
    let log = Log::new();
    // Segments of about a command each.
    let mut writer = log.writer(200);
    let keys: Vec<String> = (0..12).map(|n| format!("cart:{n}")).collect();
    let mut positions = Vec::new();
    let mut ms = T0;
    let mut send = |writer: &mut LogWriter, bytes: &[u8]| {
        ms += 100;
        put(writer, bytes, ms);
        ms
    };
    send(&mut writer, &[select(0), set("a", "FLUSHALL")].concat());
    // A single removal is none to tell.
    send(&mut writer, &[select(1), command(&[b"DEL", b"one"])].concat());
    send(&mut writer, &select(0));
    positions.push((writer.offset(), T0 + 400));
    for key in &keys {
        let removal: &[u8] = if key.ends_with('1') { b"unlink" } else { b"del" };
        send(&mut writer, &command(&[removal, key.as_bytes(), format!("cart:x{key}").as_bytes()]));
        send(&mut writer, &set("b", "1"));
    }
    send(&mut writer, &select(2));
    let multi = writer.offset();
    let flushed =
        send(&mut writer, &[command(&[b"MULTI"]), set("c", "1"), command(&[b"flushdb"]), command(&[b"EXEC"])].concat());
    positions.push((multi + command(&[b"MULTI"]).len() as u64 + set("c", "1").len() as u64, flushed));
    positions.push((writer.offset(), flushed + 100));
    send(&mut writer, &command(&[b"RENAME", b"from", b"to"]));
    positions.push((writer.offset(), flushed + 200));
    send(&mut writer, &command(&[b"SWAPDB", b"0", b"1"]));
    seal(&mut writer);

    let coverage = log.coverage();
    let told = coverage.destructive(at(T0), at(ms), 100).unwrap();
    let expected = |n: usize, command: &str, commands, keys, prefix: &str, database| Destruction {
        at: at(positions[n].1),
        position: log.timeline.position(positions[n].0),
        command: command.into(),
        commands,
        keys,
        key_prefix: prefix.into(),
        database: Some(database),
    };
    let all = [
        expected(0, "DEL", 12, 24, "cart:", 0),
        expected(1, "FLUSHDB", 1, 0, "", 2),
        expected(2, "RENAME", 1, 1, "", 2),
        expected(3, "SWAPDB", 1, 0, "", 2),
    ];
    assert_eq!((Vec::from(told.found), told.left_out), (all.to_vec(), 0));
    let newest = coverage.destructive(at(T0), at(ms), 1).unwrap();
    assert_eq!((Vec::from(newest.found), newest.left_out), (all[3..].to_vec(), 3));
    let within = coverage.destructive(at(flushed), at(flushed + 99), 100).unwrap();
    assert_eq!(Vec::from(within.found), all[1..2]);

    // Before the transaction with FLUSHDB, all is there.
    let before = cut_at(&log, &[base(FIRST, T0)], &CutAt::Before(all[1].position.clone())).unwrap();
    assert_eq!(before.to.offset, multi);
}

#[test]
fn a_large_removal_is_never_held() {
    let log = Log::new();
    let mut writer = log.writer(1 << 30);
    let big = vec![b'k'; 3 << 20];
    put(&mut writer, &[select(0), command(&[b"SET", b"a", &big])].concat(), T0);
    let start = writer.offset();
    let many: Vec<Vec<u8>> = (0..200_000).map(|n| format!("session:{n}").into_bytes()).chain([big]).collect();
    let words: Vec<&[u8]> = std::iter::once(b"UNLINK".as_slice()).chain(many.iter().map(Vec::as_slice)).collect();
    put(&mut writer, &command(&words), T0 + 1);
    seal(&mut writer);
    let told = log.coverage().destructive(at(T0), at(T0 + 1), 10).unwrap();
    assert_eq!(
        (told.found[0].position.offset, told.found[0].keys, told.found[0].key_prefix.as_str()),
        (start, 200_001, "")
    );
}
