//! Where the demo plays: a folder of its own with an everup.toml, a database and six releases, and a fleet that is
//! started as a user would start it.

use super::character;
use crate::cmd::publish;
use crate::config::{self, FILE};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::Out;
use everup_core::ids::Version;
use everup_host::settings::Settings;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What is on the posters: the story tells what each is for.
const RELEASES: [(&str, &str); 6] = [
    ("1", "schema=1\n"),
    ("2", "schema=1\n"),
    ("3", "schema=2\n"),
    ("4", "schema=2\n"),
    ("5", "schema=2\nflaw=never-healthy\n"),
    ("6", "schema=2\n"),
];

/// The first port that is tried for the service, and how many.
const PORTS: (u16, u16) = (8080, 200);

/// The place, the settings, the program.
#[derive(Debug)]
pub struct Stage {
    /// The fleet's settings.
    pub settings: Settings,
    folder: TempDir,
    program: PathBuf,
}

const WANTED: &str = "the demo could not be prepared";

fn failed(happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, WANTED, happened)
}

impl Stage {
    /// Makes the folder, writes the settings, publishes the releases.
    ///
    /// # Errors
    /// When the machine's folder for temporary files cannot be used.
    pub async fn set() -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed)?;
        let folder = tempfile::Builder::new().prefix("everup-demo-").tempdir().map_err(failed)?;
        let address = free().map_err(failed)?;
        let text = settings(&program, folder.path(), address);
        fs::write(folder.path().join(FILE), text).map_err(failed)?;
        let settings = config::load(Some(&folder.path().join(FILE)), folder.path())?;
        let stage = Self { settings, folder, program };
        for (version, character) in RELEASES {
            stage.publish(version, character).await?;
        }
        Ok(stage)
    }

    /// The folder, for a user who wants to go on by hand.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        database(self.folder.path())
    }

    /// Starts the fleet; done when its agents answer.
    ///
    /// # Errors
    /// With what the keeper said.
    pub fn up(&self) -> Result<(), Failure> {
        self.everup(&["up", "--detach"])
            .map_err(|failure| Failure { wanted: "the demo's fleet did not start".to_owned(), ..failure })
    }

    /// Ends the fleet. The folder goes with the stage.
    ///
    /// # Errors
    /// With what the keeper said.
    pub fn down(&self) -> Result<(), Failure> {
        self.everup(&["down", "--within", "10s"])
    }

    fn everup(&self, words: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.path().join(FILE)).args(words);
        command.env_remove("EVERUP_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        let ended = command.output().map_err(failed)?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        Err(failed(format!("`everup {}` ended with {}", words.join(" "), ended.status)).details(said))
    }

    async fn publish(&self, version: &str, character: &str) -> Result<(), Failure> {
        let source = self.folder.path().join("releases").join(version);
        let files = || -> io::Result<()> {
            fs::create_dir_all(&source)?;
            fs::write(source.join(character::FILE), character)?;
            fs::write(source.join("README"), format!("Release {version} of everup's demo.\n"))?;
            match version {
                "3" => fs::write(source.join(config::release::RELEASE_FILE), self.migration()),
                _ => Ok(()),
            }
        };
        files().map_err(failed)?;
        let version = Version::new(version).map_err(|error| failed(chain(&error)))?;
        let args = publish::Args::plain(&source, version);
        publish::store(&args, &source, &self.settings, Out::QUIET).await.map(drop)
    }

    fn migration(&self) -> String {
        let command = format!(
            "sleep 1; exec {} demo-app migrate --database {}",
            quoted(&self.program),
            quoted(&self.database())
        );
        format!("[migration]\nid = \"schema-2\"\ncommand = {}\n", toml::Value::String(command))
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("database")
}

/// For /bin/sh.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// An address that nobody listens on. Somebody may take it before the keeper does: then the keeper says so.
fn free() -> io::Result<SocketAddr> {
    let (first, many) = PORTS;
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let found = (first..first + many).map(address).find(|address| TcpListener::bind(address).is_ok());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("no port from {first} on is free")))
}

fn settings(program: &Path, folder: &Path, address: SocketAddr) -> String {
    let command = format!("exec {} demo-app serve --database {}", quoted(program), quoted(&database(folder)));
    let command = toml::Value::String(command);
    format!(
        "application = \"demo\"
environment = \"demo\"

[app]
command = {command}
stop = \"5s\"

[health]
path = \"/healthz\"
version_path = \"/version\"
interval = \"500ms\"
deadline = \"2s\"

[listen]
address = \"{address}\"

[fleet]
min = 2
desired = 4
max = 8
zones = [\"a\", \"b\"]

# A demo is in a hurry: streams and WebSockets get three seconds to end, a release ten to become healthy.
[deploy]
drain = \"3s\"
start = \"10s\"
prove = \"1s\"
"
    )
}
