//! Proves that a name that is there twice is found whatever its length, however each of the two is written, and wherever reads cut them;
//! and that of function libraries exactly those pass that a real server takes.

use crate::redis::fixture::KIND;
use crate::redis::values::{Item, entry, length, listpack, packed, rdb, string};
use crate::support::{Redis, Reply};
use std::io::{self, Read};
use tair_backup_mcp::redis::rdb::unique::Unique;
use tair_backup_mcp::redis::rdb::{walk, walk_unique};

/// Gives so many bytes a read.
struct Steps<'a>(&'a [u8], usize);

impl Read for Steps<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.1);
        self.0.read(&mut buf[..n])
    }
}

/// Whether two walks, which read in different steps, find nothing.
fn passes(rdb: &[u8], step: usize) -> bool {
    let mut unique = Unique::new(std::env::temp_dir());
    walk_unique(Steps(rdb, step), (), (), &mut unique).is_ok()
        && !(unique.needs_second_walk().unwrap() && walk_unique(Steps(rdb, 3 * step), (), (), &mut unique).is_err())
}

#[test]
fn a_name_twice_of_any_length_in_any_form() {
    for n in [1, 3, 8, 16, 17, 64, 255, 256, 257, 300, 5000, 140_000] {
        let name = |last: u8| [vec![b'n'; n - 1], vec![last]].concat();
        let form = |n: &[u8], is_packed: bool| if is_packed { packed(n) } else { string(n) };
        for first in [false, true] {
            for second in [false, true] {
                for last in [b'a', b'b'] {
                    let what = format!("{n} bytes, packed {first} and {second}, ends {}", char::from(last));
                    let (one, other) = (form(&name(b'a'), first), form(&name(last), second));
                    let filler = string(&vec![b'f'; 2000]);
                    let set = entry(2, "set", &[length(3), one.clone(), filler, other.clone()].concat());
                    let keys = [&[0][..], &one, &string(b"v"), &[0], &other, &string(b"v")].concat();
                    for body in [set, keys] {
                        let rdb = rdb("REDIS0011", &body, true);
                        for step in [7, 997, 1 << 20] {
                            assert_eq!(passes(&rdb, step), last != b'a', "{what}, by {step}");
                        }
                    }
                }
            }
        }
    }
}

/// A container of a quarter megabyte streams; what is in it is found as in one that is held.
#[test]
fn a_member_twice_in_a_container_that_streams() {
    let many: Vec<Item> = (0..2500).map(|n| Item::Text(format!("{n:0>110}").into_bytes())).collect();
    for n in [1, 16, 17, 255, 256, 257, 300, 40_000] {
        for last in [b'a', b'b'] {
            let name = |last: u8| Item::Text([vec![b'n'; n - 1], vec![last]].concat());
            let all = [&[name(b'a')][..], &many, &[name(last)]].concat();
            let blob = listpack(&all);
            for value in [string(&blob), packed(&blob)] {
                let rdb = rdb("REDIS0011", &entry(20, "set", &value), true);
                assert_eq!(passes(&rdb, 997), last != b'a', "{n} bytes");
            }
        }
    }
}

#[test]
fn function_libraries_pass_as_a_server_takes_them() {
    let server = Redis::start(KIND, &[]);
    let code = "\nredis.register_function('f', function() return '\u{fc}' end)";
    for line in [
        "#!lua name=lib",
        "#!LUA  name=lib ",
        "#!lua\tNAME=Lib_2\r",
        "#!lua name=\"quoted\"",
        "#!lua",
        "#!lua name=",
        "#!lua name=a-b",
        "#!lua name=lib name=lib",
        "#!lua name=lib more=1",
        "#!lua lib",
        "#! lua name=lib",
        "#!luna name=lib",
        "#lua name=lib",
        "lua name=lib",
        "",
    ] {
        let library = format!("{line}{code}");
        server.run(&["FUNCTION", "FLUSH", "SYNC"]);
        let took = !matches!(server.try_run(&["FUNCTION", "LOAD", &library]).unwrap(), Reply::Error(_));
        for form in [string, packed] {
            let rdb = rdb("REDIS0010", &[&[245][..], &form(library.as_bytes())].concat(), true);
            let walked = walk(&rdb[..], (), ());
            assert_eq!(walked.is_ok(), took, "{line:?}: {:?}", walked.err());
        }
    }
    let two = |other: &str| {
        let library = |name: &str| [&[245][..], &string(format!("#!lua name={name}{code}").as_bytes())].concat();
        passes(&rdb("REDIS0010", &[library("lib"), library(other)].concat(), true), 997)
    };
    assert!(two("Lib") && !two("lib"));
}

/// A module of a Valkey may bring an engine of its own.
#[test]
fn another_engine_is_known_to_valkey_alone() {
    let library = [&[245][..], &string(b"#!js name=lib\ncode")].concat();
    let aux = [&[250][..], &string(b"valkey-ver"), &string(b"8.1.1")].concat();
    for (magic, body, good) in [
        ("REDIS0011", library.clone(), false),
        ("REDIS0011", [aux, library.clone()].concat(), true),
        ("VALKEY080", library, true),
    ] {
        assert_eq!(walk(&rdb(magic, &body, true)[..], (), ()).is_ok(), good, "{magic}");
    }
}
