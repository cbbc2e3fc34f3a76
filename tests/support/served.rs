//! A program that is inspected while it serves its own profiles.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use leaktrace::{
    session::{Executable, Look},
    target::{Identity, Selector, Watch, select},
};
use serde_json::Value;

use super::workload_path;

/// The kinds of build that are inspected; see `xtask`'s `served`.
pub const KINDS: [&str; 3] = ["", "-pie", "-cgo"];

/// A running program that answers commands and serves its profiles.
pub struct Served {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Starts part `arguments[0]` of the program built by `version` in `kind`.
    pub fn start(version: &str, kind: &str, arguments: &[&str]) -> Self {
        let folder = workload_path(&format!("go{version}"));
        let name = format!("go{version}-served{kind}");
        let program = folder.parent().unwrap().with_file_name(name).join("served");
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|why| panic!("{}: {why}", program.display()));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, stdin, stdout, port: 0 };
        let ready = this.line();
        let port = ready.rsplit_once("port=").unwrap_or_else(|| panic!("`{ready}`")).1;
        this.port = port.parse().unwrap();
        this
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends a command and gives its answer.
    pub fn command(&mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").unwrap();
        let answer = self.line();
        let json = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("`{answer}`"));
        serde_json::from_str(json).unwrap()
    }

    /// The body of what it serves at `path`.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
        answer.split_off(body)
    }

    /// Its executable and its memory, opened.
    pub fn look(&self) -> (Watch, Executable, Look) {
        let process = select(&Selector::Pid(self.pid() as i32)).unwrap();
        let identity = Identity::of(&process).unwrap();
        let watch = Watch::new(process, identity);
        let executable = Executable::of(&watch).unwrap();
        let look = Look::open(watch.process(), &executable).unwrap();
        (watch, executable, look)
    }
}
