//! A running gateway: the real program, as a process of its own.

use crate::lines::Line;
use crate::metrics::{self, Metrics};
use crate::{Client, NAS, SECRET, Setup, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A gateway with a folder of its own. Dropping it kills the process; a test that fails shows the end of the log.
pub struct Gateway {
    folder: TempDir,
    child: Child,
    addresses: Vec<SocketAddr>,
    admin: SocketAddr,
}

/// Which release of the program it is.
#[derive(Clone, Copy)]
pub enum Release {
    /// This one.
    This,
    /// A build that stands for the one before: its records are of the version before.
    Previous,
}

impl Gateway {
    /// Writes the setup, starts the program and waits until it is ready.
    ///
    /// # Panics
    ///
    /// It does not get ready; its log is shown.
    pub fn start(setup: Setup) -> Self {
        Self::start_as(setup, Release::This)
    }

    /// As [`start`](Self::start), of a release.
    ///
    /// # Panics
    ///
    /// As it does.
    pub fn start_as(setup: Setup, release: Release) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        setup.write(folder.path());
        let child = spawn(folder.path(), release);
        let mut gateway = Self { folder, child, addresses: setup.addresses(), admin: setup.admin() };
        gateway.await_ready();
        gateway
    }

    /// As [`start`](Self::start), with its log in a pipe whose reading end is returned: nobody reads it but the test.
    ///
    /// # Panics
    ///
    /// As it does.
    pub fn start_with_pipe(setup: Setup) -> (Self, ChildStderr) {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        setup.write(folder.path());
        let mut child =
            program(folder.path(), Release::This).stderr(Stdio::piped()).spawn().expect("orthrus can be run");
        let log = child.stderr.take().expect("it is piped");
        let mut gateway = Self { folder, child, addresses: setup.addresses(), admin: setup.admin() };
        gateway.await_ready();
        (gateway, log)
    }

    /// As [`start`](Self::start), with so many descriptors and no more.
    ///
    /// # Panics
    ///
    /// As it does.
    pub fn start_with_descriptors(setup: Setup, limit: usize) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        setup.write(folder.path());
        let orthrus = program(folder.path(), Release::This);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(orthrus.get_program()).args(orthrus.get_args());
        let log = OpenOptions::new().create(true).append(true).open(folder.path().join("log"));
        let log: File = log.expect("the folder is ours");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("prlimit can be run");
        let mut gateway = Self { folder, child, addresses: setup.addresses(), admin: setup.admin() };
        gateway.await_ready();
        gateway
    }

    /// Leaves it so many descriptors that are free, and no more.
    ///
    /// # Panics
    ///
    /// There is no `prlimit`.
    pub fn leave_descriptors(&self, free: usize) {
        let used = || {
            let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").flatten();
            let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
            numbers.collect::<std::collections::BTreeSet<_>>()
        };
        // What is only open for a moment is not counted.
        let looks = (0..20).map(|_| {
            crate::wait::pass(Duration::from_millis(25));
            used()
        });
        let used = looks.reduce(|kept, now| &kept & &now).expect("there are looks");
        let limit = (0..).filter(|number| !used.contains(number)).nth(free).expect("numbers have no end");
        let status =
            Command::new("prlimit").args(["--pid", &self.id().to_string(), &format!("--nofile={limit}:")]).status();
        assert!(status.expect("prlimit can be run").success());
    }

    /// A number that the kernel tells of the process, such as `Threads`, or `VmHWM` in KiB.
    ///
    /// # Panics
    ///
    /// It tells none of this name.
    pub fn told_by_kernel(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The HTTP side.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// As [`start_unready`](Self::start_unready), on a machine whose clock is off by so many seconds (libfaketime).
    ///
    /// # Panics
    ///
    /// libfaketime is not installed.
    pub fn start_with_clock_off(setup: Setup, seconds: i64) -> Self {
        let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
            .map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"))
            .into_iter()
            .find(|path| path.exists())
            .expect("tests/run installs libfaketime");
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        setup.write(folder.path());
        let mut command = program(folder.path(), Release::This);
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("{seconds:+}")).env("DONT_FAKE_MONOTONIC", "1");
        let child = command.spawn().expect("orthrus can be run");
        let gateway = Self { folder, child, addresses: setup.addresses(), admin: setup.admin() };
        eventually("the gateway listens", || metrics::get(gateway.admin, "/livez").is_ok().then_some(()));
        gateway
    }

    /// Writes the setup and starts the program, which is not to get ready; waits until it can say so.
    pub fn start_unready(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        setup.write(folder.path());
        let child = spawn(folder.path(), Release::This);
        let gateway = Self { folder, child, addresses: setup.addresses(), admin: setup.admin() };
        eventually("the gateway says that it is not ready", || {
            metrics::get(gateway.admin, "/readyz").is_ok_and(|(status, _)| status == 503).then_some(())
        });
        gateway
    }

    fn await_ready(&mut self) {
        eventually("the gateway is ready", || {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("orthrus ended with {status}:\n{}", self.log());
            }
            metrics::get(self.admin, "/readyz").is_ok_and(|(status, _)| status == 200).then_some(())
        });
    }

    /// The first address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Every address that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The NAS that every setup knows.
    pub fn nas(&self) -> Client {
        Client::new(self.address(), SECRET)
    }

    /// Starts it again in the same folder, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub fn start_again(&mut self) {
        self.start_again_as(Release::This);
    }

    /// As [`start_again`](Self::start_again), after an upgrade or on the way back.
    pub fn start_again_as(&mut self, release: Release) {
        assert!(self.child.try_wait().expect("it is our child").is_some(), "it still runs");
        self.child = spawn(self.folder.path(), release);
        self.await_ready();
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for that.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        eventually("the gateway ends", || self.child.try_wait().expect("it is our child"))
    }

    /// Asks it to end, and does not wait for that.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Stops it in the middle of whatever it does, as a machine that is suspended.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends SIGHUP and waits for the word of the log on it: whether the new configuration is in force.
    pub fn reload(&self) -> Result<(), String> {
        let before = self.log().len();
        self.signal(Signal::SIGHUP);
        eventually("the reload is told", || {
            let log = self.log();
            let news = log.get(before..)?;
            if news.contains("the new configuration is in force") {
                return Some(Ok(()));
            }
            let refused = news.lines().find(|line| line.contains("was not reloaded"))?;
            Some(Err(refused.to_owned()))
        })
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        kill(Pid::from_raw(id), signal).expect("it is our child");
    }

    /// One scrape.
    pub fn metrics(&self) -> Metrics {
        let (status, body) = metrics::get(self.admin, "/metrics").expect("the HTTP side answers");
        assert_eq!(status, 200, "{body}");
        Metrics::parse(&body)
    }

    /// GETs a path of the HTTP side.
    pub fn get(&self, path: &str) -> (u16, String) {
        metrics::get(self.admin, path).expect("the HTTP side answers")
    }

    /// Orders something over HTTP, with a token or without.
    pub fn order(&self, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let head = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        metrics::ask(self.admin, &format!("POST {path}"), &head, body).expect("the HTTP side answers")
    }

    /// Waits until a scrape is as it should be.
    pub fn await_metrics(&self, what: &str, right: impl Fn(&Metrics) -> bool) -> Metrics {
        eventually(what, || Some(self.metrics()).filter(&right))
    }

    /// Waits until `count` packets were dropped for this reason.
    pub fn await_dropped(&self, reason: &str, count: u64) {
        self.await_metrics(&format!("{count} dropped for {reason}"), |metrics| metrics.dropped(reason) >= count);
        assert_eq!(self.metrics().dropped(reason), count, "dropped for {reason}");
    }

    /// Everything logged so far, of all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The lines of the log, which is JSON unless the test says otherwise.
    pub fn log_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let read: Result<Line, _> = serde_json::from_str(line);
            Value::Object(read.unwrap_or_else(|error| panic!("{error} in the line {line}")).0)
        };
        // A line that is being written has no end yet.
        self.log().split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect()
    }

    /// Waits for a line of the log: a thread of its own writes it, later than the reply is sent.
    pub fn await_log(&self, part: &str) {
        eventually(&format!("the log tells of {part}"), || self.log().contains(part).then_some(()));
    }

    /// The lines that tell of factors that were judged and refused.
    pub fn refusal_lines(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(|line| line["message"] == "a factor was refused").collect()
    }

    /// The lines that tell of finished requests.
    pub fn sign_in_lines(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(|line| line["message"] == "sign-in").collect()
    }

    /// The same, once there are so many: they are written by a thread of their own.
    pub fn await_sign_in_lines(&self, count: usize) -> Vec<Value> {
        eventually("the lines are written", || Some(self.sign_in_lines()).filter(|lines| lines.len() >= count))
    }

    /// A file of its folder: `orthrus.toml`, `users`, `tokens`, `state/...`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file of its folder at once, as an editor does.
    pub fn write(&self, name: &str, text: &str) {
        let fresh = self.path(&format!("{name}.fresh"));
        fs::write(&fresh, text).expect("the folder is ours");
        fs::rename(fresh, self.path(name)).expect("the folder is ours");
    }

    /// Changes its configuration file.
    pub fn edit_config(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.path("orthrus.toml")).expect("it was written");
        let changed = change(&text);
        assert_ne!(text, changed, "nothing was changed");
        self.write("orthrus.toml", &changed);
    }

    /// Runs another command of the program with this configuration, such as `["user", "list"]`.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        run(self.folder.path(), arguments, input)
    }

    /// What of its memory is in RAM, in KiB.
    pub fn resident(&self) -> u64 {
        self.told_by_kernel("VmRSS")
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the end of the log of {NAS}'s gateway ---");
            lines.iter().skip(lines.len().saturating_sub(40)).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Runs a command of the program in a folder that a [`Setup`] was written to, to its end.
pub fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(crate::binary::orthrus())
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("orthrus can be run");
    // A command that reads nothing closes the pipe.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn spawn(folder: &Path, release: Release) -> Child {
    program(folder, release).spawn().expect("orthrus can be run")
}

fn program(folder: &Path, release: Release) -> Command {
    let log = OpenOptions::new().create(true).append(true).open(folder.join("log"));
    let log: File = log.expect("the folder is ours");
    let mut command = Command::new(match release {
        Release::This => crate::binary::orthrus(),
        Release::Previous => crate::binary::previous(),
    });
    command
        .args(["serve", "--config", "orthrus.toml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("there are descriptors"))
        .stderr(log);
    command
}
