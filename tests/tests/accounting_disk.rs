//! What the disk does to accounting records: a power cut, no room, and the order of fdatasync and responses.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::accounting::{Image, Load, START, assert_whole, listens, nas, start};
use tests::wait::pass;
use tests::{Gateway, Request, Setup, eventually};

fn on(image: &Image) -> (Gateway, std::net::SocketAddr) {
    let folder = image.path().join("accounting");
    let (setup, address) = listens(Setup::new().set("accounting.folder", folder.to_str().expect("it is text")));
    (setup.set("accounting.rotate_size", "64KiB").start(), address)
}

#[test]
fn ext4_a_power_cut_loses_no_acknowledged_record_and_leaves_none_twice() {
    let mut image = Image::new(64);
    let (mut gateway, address) = on(&image);
    for _ in 0..5 {
        let load = Load::start(address, 8);
        load.await_more(200);
        pass(Duration::from_micros(u64::from(rand::random::<u16>())));
        gateway.kill();
        let answered = load.end();
        let copy = image.cut().join("accounting");
        // What the next start of a gateway does with the copy: it puts half a line aside.
        let (setup, _) = listens(Setup::new().set("accounting.folder", copy.to_str().expect("it is text")));
        let mut after = setup.start();
        after.stop();
        assert_whole(&answered, &copy);
        // The next round begins on an empty folder, so that the sessions can be the same ones.
        fs::remove_dir_all(image.path().join("accounting")).unwrap();
        gateway.start_again();
    }
}

#[test]
fn ext4_a_full_disk_means_silence_until_there_is_room() {
    let image = Image::new(16);
    let (gateway, address) = on(&image);
    let ballast = image.path().join("ballast");
    let load = Load::start(address, 4);
    load.await_more(50);
    let failing = |value: u64| {
        gateway.await_metrics("the sink says how it is", |metrics| {
            metrics.count("orthrus_accounting_failing", &[("sink", "file")]) == value
        })
    };
    // All the room that there is, until a write of one octet fails. A short record still fits into what is left of the
    // last block of its file, and is answered: that ends, and then nothing is.
    let mut file = fs::File::create(&ballast).unwrap();
    eventually("nothing is answered for a second", || {
        for size in [1 << 20, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![7; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
        failing(1);
        let silent = load.count();
        pass(Duration::from_secs(1));
        (load.count() == silent).then_some(())
    });
    let metrics = failing(1);
    assert!(metrics.count("orthrus_accounting_failures_total", &[("sink", "file")]) > 0);
    fs::remove_file(&ballast).unwrap();
    drop(file);
    load.await_more(50);
    failing(0);
    let answered = load.end();
    assert_whole(&answered, &image.path().join("accounting"));
    gateway.await_log("accounting records do not get to the disk");
}

/// Follows a trace: how many records were durable when each response was given to the kernel.
#[derive(Default)]
struct Trace {
    written: usize,
    durable: usize,
    syncs: usize,
    /// Calls that send, in the order in which they began: what was durable then, and how many responses each sent.
    sends: Vec<(usize, usize)>,
    /// By thread: the records that its call writes, or its place in `sends`.
    begun: HashMap<String, usize>,
}

impl Trace {
    fn line(&mut self, line: &str) {
        let (thread, call) = line.split_once(' ').expect("strace -f names the thread");
        let call = call.trim_start();
        if !call.starts_with("<...") {
            let records = if call.contains("accounting.jsonl") { call.matches(r#"{\"v\":1"#).count() } else { 0 };
            let sends = call.starts_with("sendmmsg");
            self.begun.insert(thread.to_owned(), if sends { self.sends.len() } else { records });
            if sends {
                self.sends.push((self.durable, 0));
            }
        }
        let Some((_, result)) = call.rsplit_once(" = ") else { return };
        let Some(begun) = self.begun.remove(thread) else { return };
        let result = result.split(' ').next().and_then(|number| number.parse::<i64>().ok()).expect("a result");
        if call.contains("write") {
            self.written += begun;
        } else if call.contains("fdatasync") {
            assert_eq!(result, 0);
            self.durable = self.written;
            self.syncs += 1;
        } else if call.contains("sendmmsg") {
            self.sends[begun].1 = usize::try_from(result).expect("it was sent");
        }
    }

    /// How many responses there were, none of them before its record was durable.
    fn check(&self) -> usize {
        self.sends.iter().fold(0, |sent, (durable, more)| {
            assert!(sent + more <= *durable, "{} responses were sent when {durable} records were durable", sent + more);
            sent + more
        })
    }
}

#[test]
fn strace_sees_fdatasync_before_the_responses_that_it_covers() {
    let (gateway, address) = start(Setup::new());
    let output = gateway.path("trace");
    let mut strace = Command::new("strace")
        .args(["-f", "-y", "-s", "1000000", "-e", "trace=write,fdatasync,sendmmsg", "-o"])
        .arg(&output)
        .args(["-p", &gateway.id().to_string()])
        .stderr(fs::File::create(gateway.path("strace")).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("strace: {error}; tests/run installs it"));
    // It attaches to one thread after another, and says when it has them all.
    eventually("strace is there", || {
        fs::read_to_string(gateway.path("strace")).ok()?.contains("attached").then_some(())
    });
    nas(address).ask(&Request::accounting(START, "the first one that counts"));
    // One response for each record, so that they can be counted against each other.
    let load = Load::patient(address, 16, tests::PATIENCE);
    load.await_more(500);
    let answered = load.end();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(strace.id()).unwrap()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    strace.wait().unwrap();
    let text = fs::read_to_string(&output).unwrap();
    assert!(text.contains("the first one that counts"));
    let mut trace = Trace::default();
    text.lines().for_each(|line| trace.line(line));
    let sent = trace.check();
    println!("{sent} responses, {} calls of fdatasync", trace.syncs);
    assert!(sent > answered.len() && trace.syncs < sent, "records are written in groups");
    assert_eq!(gateway.metrics().count("orthrus_accounting_duplicates_total", &[]), 0);
}
