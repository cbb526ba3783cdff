//! A set that was verified once is known again by the digest of its file: every other file is told, also one whose frames are all whole.

use super::{Place, RDB};
use crate::support::write_over;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use tair_backup_mcp::model::backup::BackupSet;
use tair_backup_mcp::vault::frames::FrameWriter;

const ID: &str = "b-20260101T000000Z-aaaaaa";

/// What the vault says of a set's file: `Some` where it is the known one, whose data is returned; `None` where it is whole and another;
/// the fault's code where it is damaged.
fn known(place: &Place, set: &BackupSet, digest: &str) -> Result<Option<Vec<u8>>, &'static str> {
    let opened = place.run(place.vault.open_known(set, digest)).map_err(|fault| fault.code)?;
    Ok(opened.map(|mut reader| {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).unwrap();
        data
    }))
}

/// Writes a data object of whole frames, each of one of the pieces.
fn write_frames(path: &Path, pieces: &[&[u8]]) {
    // A frame ends with its writer or at a MiB, so the last frames of several objects are laid behind each other here.
    let (mut data, mut table, mut frames) = (Vec::<u8>::new(), Vec::<u8>::new(), 0_u32);
    for piece in pieces {
        let mut writer = FrameWriter::new(Vec::new()).unwrap();
        writer.push(piece).unwrap();
        let (object, _) = writer.finish().unwrap();
        // Behind one frame: the skippable frame's head (8), one entry (8), the footer (9).
        let (frame, tail) = object.split_at(object.len() - 25);
        data.extend(frame);
        table.extend(&tail[8..16]);
        frames += 1;
    }
    data.extend(0x184D_2A5E_u32.to_le_bytes());
    data.extend((frames * 8 + 9).to_le_bytes());
    data.extend(table);
    data.extend(frames.to_le_bytes());
    data.push(0);
    data.extend(0x8F92_EAB1_u32.to_le_bytes());
    write_over(path, data);
}

#[test]
fn only_the_very_file_is_known() {
    let place = Place::new();
    let set = place.set(ID);
    let digest = place.run(place.vault.stored_digest(&set)).unwrap();
    let path = place.path(ID, "data.rdb.zst");
    let written = std::fs::read(&path).unwrap();
    assert_eq!(known(&place, &set, &digest), Ok(Some(RDB.to_vec())));
    let watch = Arc::default();
    place.run(place.vault.verify_bytes(&set, &watch)).unwrap();
    assert_eq!(watch.bytes(), set.rdb_bytes);

    // Every byte counts, those of the seek table too; and so does the length.
    for at in 0..written.len() {
        let mut other = written.clone();
        other[at] = !other[at];
        write_over(&path, &other);
        assert_eq!(known(&place, &set, &digest), Err("backup.damaged"), "byte {at} of {}", written.len());
        let fault = place.run(place.vault.verify_bytes(&set, &Arc::default())).unwrap_err();
        assert!(fault.code == "backup.damaged" && fault.message.contains("data.rdb.zst"), "byte {at}: {fault:?}");
    }
    for other in [&written[..written.len() - 1], &[&written[..], b"\0"].concat(), &[]] {
        write_over(&path, other);
        assert_eq!(known(&place, &set, &digest), Err("backup.damaged"), "{} bytes", other.len());
    }

    // The same data in other frames, all of them whole: nothing is wrong with it, and it is another file all the same.
    write_frames(&path, &[&RDB[..20], &RDB[20..]]);
    assert!(place.run(place.vault.verify(&set)).is_ok(), "these frames are whole");
    assert_eq!(known(&place, &set, &digest), Ok(None));

    // More of them than the data can have: memory is not taken for what a table says.
    write_frames(&path, &[&RDB[..20], &RDB[20..30], &RDB[30..]]);
    let fault = place.run(place.vault.verify(&set)).unwrap_err();
    assert!(fault.code == "backup.damaged" && fault.message.contains("has 3 frames"), "{fault:?}");

    // Another set's data, its frames all whole: it is none of this manifest's.
    let mut another = RDB.to_vec();
    // Eight zeros in the place of an RDB's CRC64 say that there is none.
    let crc64 = another.len() - 8;
    another[crc64..].fill(0);
    write_frames(&path, &[&another]);
    assert_eq!(known(&place, &set, &digest), Err("backup.damaged"));

    write_over(&path, &written);
    assert_eq!(known(&place, &set, &digest), Ok(Some(RDB.to_vec())));
    // What is no digest of this version proves nothing.
    for other in ["", &set.sha256, &digest.to_uppercase()] {
        assert_eq!(known(&place, &set, other), Ok(None), "{other:?}");
    }
}

/// The object that was looked at is the one that is read, whatever takes its name meanwhile.
#[test]
fn what_was_opened_is_what_is_read() {
    let place = Place::new();
    let set = place.set(ID);
    let digest = place.run(place.vault.stored_digest(&set)).unwrap();
    let mut reader = place.run(place.vault.open_known(&set, &digest)).unwrap().unwrap();
    let path = place.path(ID, "data.rdb.zst");
    std::fs::remove_file(&path).unwrap();
    File::create(&path).unwrap();
    let mut data = Vec::new();
    reader.read_to_end(&mut data).unwrap();
    assert_eq!(data, RDB);
}
