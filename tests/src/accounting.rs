//! Who reads the accounting records: the files that a gateway leaves, line by line.

use crate::setup::free_udp_port;
use crate::{Client, Gateway, Request, SECRET, Setup, eventually};
use gateway_core::radius::{Code, attribute};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Acct-Status-Type Start.
pub const START: u32 = 1;
/// Acct-Status-Type Stop.
pub const STOP: u32 = 2;
/// Acct-Status-Type Interim-Update.
pub const INTERIM: u32 = 3;
/// Acct-Status-Type Accounting-On.
pub const ON: u32 = 7;

/// Where records come in.
#[must_use]
pub fn listens(setup: Setup) -> (Setup, SocketAddr) {
    let address = setup.addresses().first().expect("it listens").ip();
    let address = SocketAddr::from((address, free_udp_port(address)));
    (setup.set("accounting.listen", vec![address.to_string()]), address)
}

/// A gateway that writes records into the folder `accounting`, and where they come in.
pub fn start(setup: Setup) -> (Gateway, SocketAddr) {
    let (setup, address) = listens(setup.set("accounting.folder", "accounting"));
    (setup.start(), address)
}

/// A NAS that knows the secret.
#[must_use]
pub fn nas(address: SocketAddr) -> Client {
    Client::new(address, SECRET)
}

/// Every record in the folder, the oldest file first.
///
/// # Panics
///
/// A line is no record.
#[must_use]
pub fn records(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    // The newest, `accounting.jsonl`, sorts behind `accounting-…`.
    files.sort();
    let read = |path| std::fs::read_to_string(path).expect("records are text");
    let lines = |text: String| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    };
    files.into_iter().map(read).flat_map(lines).collect()
}

/// How often each session stands in the records.
#[must_use]
pub fn sessions(folder: &Path) -> HashMap<String, usize> {
    let mut count = HashMap::new();
    for record in records(folder) {
        let session = record["attributes"]["Acct-Session-Id"].as_str().expect("each has one");
        *count.entry(session.to_owned()).or_default() += 1;
    }
    count
}

/// NASes that report sessions one after another, each until it is answered: a record that gets no answer is sent again, to the
/// next life of the gateway too. Every answered session stays in `answered`.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// The sessions that were answered.
    pub answered: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// `nases` of them send to `address`.
    #[must_use]
    pub fn start(address: SocketAddr, nases: usize) -> Self {
        Self::patient(address, nases, Duration::from_millis(300))
    }

    /// The same with NASes that wait so long before they send a record again.
    #[must_use]
    pub fn patient(address: SocketAddr, nases: usize, patience: Duration) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let thread = |number: usize| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || report(address, number, patience, &stop, &answered))
        };
        let threads = (0..nases).map(thread).collect();
        Self { stop, threads, answered }
    }

    /// How many sessions were answered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.answered.lock().expect("no thread has failed").len()
    }

    /// Waits until `more` further sessions were answered.
    pub fn await_more(&self, more: usize) {
        let before = self.count();
        eventually("records are answered", || (self.count() >= before + more).then_some(()));
    }

    /// Ends it: the sessions that were answered.
    ///
    /// # Panics
    ///
    /// A NAS was answered otherwise than by an Accounting-Response.
    #[must_use]
    pub fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a NAS was answered wrongly"));
        std::mem::take(&mut *self.answered.lock().expect("no thread has failed"))
    }
}

fn report(address: SocketAddr, number: usize, patience: Duration, stop: &AtomicBool, answered: &Mutex<Vec<String>>) {
    let mut nas = nas(address);
    for turn in 0_u32.. {
        let session = format!("{number}-{turn}");
        let stamp = (1_764_000_000 + turn).to_be_bytes();
        let request = Request::accounting(START, &session)
            .with(attribute::USER_NAME, session.as_bytes())
            .with(attribute::EVENT_TIMESTAMP, &stamp);
        let sent = nas.encode(&request);
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            nas.send(&sent);
            if let Some(reply) = nas.await_reply(&sent, patience) {
                reply.expect(Code::ACCOUNTING_RESPONSE);
                break;
            }
        }
        answered.lock().expect("no thread has failed").push(session);
    }
}

/// Compares what was answered with what is written: nothing is missing and nothing is there twice.
///
/// # Panics
///
/// Otherwise.
pub fn assert_whole(answered: &[String], folder: &Path) {
    let written = sessions(folder);
    let missing: Vec<_> = answered.iter().filter(|session| !written.contains_key(*session)).collect();
    assert!(missing.is_empty(), "{} of {} answered records are missing: {missing:?}", missing.len(), answered.len());
    let twice: Vec<_> = written.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "written more than once: {twice:?}");
}

/// A small ext4 file system in a file, mounted by a loop device. Needs root.
pub struct Image {
    folder: TempDir,
    mounts: Vec<PathBuf>,
}

impl Image {
    /// Makes and mounts one of so many MiB. Its journal is committed by fsync alone, so that it stands still when nobody asks.
    #[must_use]
    pub fn new(mebibytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(mebibytes << 20)).expect("it can be made");
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", text(&image)]);
        let mut image = Self { folder, mounts: Vec::new() };
        image.mount("image");
        image
    }

    fn mount(&mut self, image: &str) -> PathBuf {
        let place = self.folder.path().join(format!("{image}-mounted"));
        std::fs::create_dir(&place).expect("the folder is ours");
        run("mount", &["-o", "loop,commit=300", text(&self.folder.path().join(image)), text(&place)]);
        self.mounts.push(place.clone());
        place
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.mounts.first().expect("it is mounted")
    }

    /// The power goes: what has reached the disk is copied as it is, nothing is synced, and the copy is mounted, which replays its
    /// journal.
    pub fn cut(&mut self) -> PathBuf {
        let name = format!("copy{}", self.mounts.len());
        std::fs::copy(self.folder.path().join("image"), self.folder.path().join(&name)).expect("there is room");
        self.mount(&name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for place in &self.mounts {
            let _ = Command::new("umount").arg("-l").arg(place).status();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our paths are text")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
