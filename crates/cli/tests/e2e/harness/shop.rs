//! An application's folder: everup.toml, the releases to publish, and the binary run in it.

use super::program::Program;
use super::{Fleet, processes};
use everup_core::record::Record;
use everup_core::seams::{Got, Store};
use everup_host::settings::{self, Settings};
use everup_host::store::Folder;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// What differs from one test to another.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// So many instances.
    pub(crate) instances: u32,
    /// "slot" or "proxy".
    pub(crate) gate: &'static str,
    /// Lines of `[deploy]`.
    pub(crate) deploy: &'static str,
    /// Lines of `[hold]`.
    pub(crate) hold: &'static str,
    /// Lines of `[health]`.
    pub(crate) health: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { instances: 4, gate: gate(), deploy: "", hold: "", health: "path = \"/\"" }
    }
}

/// Where a test does not care which gate there is, this variable says it: the suite runs once with each.
pub(crate) const GATE: &str = "EVERUP_TEST_GATE";

fn gate() -> &'static str {
    match std::env::var(GATE).as_deref() {
        Ok("proxy") => "proxy",
        Ok("slot") | Err(_) => "slot",
        Ok(other) => panic!("{GATE}={other}: expected slot or proxy"),
    }
}

/// An application's folder.
#[derive(Debug)]
pub(crate) struct Shop {
    folder: TempDir,
    /// Where the service will listen.
    pub(crate) address: SocketAddr,
    /// In the environment of the keeper, and of all that it starts.
    env: Vec<(String, String)>,
    /// Where the store is, if not in the folder that it is in by default.
    bucket: Option<settings::Store>,
    /// Whether the keeper, and all that it starts, has the store as a mount of its own.
    mounted: bool,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its stdout.
    pub(crate) out: String,
    /// Its stderr.
    pub(crate) err: String,
}

impl Shop {
    /// A folder with an everup.toml.
    pub(crate) fn new(setup: &Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("e2e-").tempdir().unwrap();
        let shop = Self { folder, address: address(), env: Vec::new(), bucket: None, mounted: false };
        shop.write("everup.toml", &settings(setup, &shop));
        shop
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join(".everup")
    }

    /// Writes a file below the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Changes everup.toml.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path().join("everup.toml")).unwrap();
        assert!(text.contains(from), "{from:?} is not in everup.toml");
        self.write("everup.toml", &text.replace(from, to));
    }

    /// Puts lines at the end of everup.toml.
    pub(crate) fn append(&self, lines: &str) {
        let text = fs::read_to_string(self.path().join("everup.toml")).unwrap();
        self.write("everup.toml", &(text + lines));
    }

    /// The binary, in the folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everup"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command.env(processes::MARK, self.path()).env_remove("EVERUP_CONFIG").env("COLUMNS", "200");
        command
    }

    /// The binary as the keeper.
    pub(crate) fn keeper(&self) -> Command {
        let mut command = if self.mounted { self.mounts("rw", &["up"]) } else { self.command(&["up"]) };
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The binary, in the folder, where the store is a mount of its own: "ro" or "rw".
    pub(crate) fn mounts(&self, how: &str, words: &[&str]) -> Command {
        let store = self.store();
        fs::create_dir_all(&store).unwrap();
        let mount =
            "mount --bind \"$0\" \"$0\" && mount -o \"remount,bind,$1\" \"$0\" && shift && exec \"$@\"";
        self.within(&["unshare", "--mount", "sh", "-c", mount, store.to_str().unwrap(), how], words)
    }

    /// The binary, in the folder, run by another program.
    pub(crate) fn within(&self, program: &[&str], words: &[&str]) -> Command {
        let ours = self.command(words);
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(ours.get_program()).args(ours.get_args());
        command.current_dir(self.path()).stdin(Stdio::null()).env_remove("EVERUP_CONFIG");
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// The store's folder.
    pub(crate) fn store(&self) -> PathBuf {
        self.state().join("store")
    }

    /// Has the keeper, and all that it starts, see the store as a mount of its own.
    pub(crate) fn keep_on_a_mount(&mut self) {
        self.mounted = true;
    }

    /// Puts a variable into the keeper's environment.
    pub(crate) fn keeper_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the binary to its end.
    pub(crate) fn everup(&self, words: &[&str]) -> Said {
        Self::run(self.command(words))
    }

    /// Runs a command to its end.
    pub(crate) fn run(mut command: Command) -> Said {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The names of all files below the folder, with their sizes.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, u64> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                    Ok(meta) => drop(found.insert(entry.path(), meta.len())),
                    Err(_) => {}
                }
            }
        }
        found
    }

    /// The ids of all deployments that the store knows, the oldest first.
    pub(crate) fn deployments(&self) -> Vec<String> {
        let folder = fs::read_dir(self.state().join("store/local/deployments"));
        let files = folder.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let names = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut ids: Vec<_> = names.filter(|name| name.starts_with('d')).collect();
        ids.sort();
        ids
    }

    /// The record of a deployment, as the store has it.
    pub(crate) fn record(&self, id: &str) -> Option<Record> {
        serde_json::from_slice(&self.object(&format!("local/deployments/{id}.json"))?).ok()
    }

    /// What the store has at `key`.
    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = match &self.bucket {
            None => {
                let store = Folder::existing(&self.state().join("store")).ok()?;
                runtime.block_on(store.get(key, None))
            }
            Some(bucket) => {
                let settings = Settings { store: bucket.clone(), ..Settings::in_folder(self.path()) };
                runtime.block_on(everup_cli::store::open(&settings).unwrap().get(key, None))
            }
        };
        match got.unwrap() {
            Got::Found { body, .. } => Some(body),
            Got::Missing | Got::Unchanged => None,
        }
    }

    /// Has the store be a part of a bucket that nobody else uses.
    pub(crate) fn keep_in_s3(&mut self, bucket: &str, endpoint: &str) {
        let name = self.path().file_name().unwrap().to_str().unwrap().to_owned();
        let (url, region) = (format!("s3://{bucket}/{name}"), "us-east-1");
        self.append(&format!("[store]\ns3 = \"{url}\"\nendpoint = \"{endpoint}\"\nregion = \"{region}\"\n"));
        let (endpoint, region) = (Some(endpoint.to_owned()), Some(region.to_owned()));
        self.bucket = Some(settings::Store::S3 { url, endpoint, region });
    }

    /// Publishes a program as `version`.
    #[track_caller]
    pub(crate) fn publish(&self, version: &str, program: &Program) -> Said {
        let folder = format!("release-{version}");
        for (name, text) in program.files(version) {
            self.write(&format!("{folder}/{name}"), &text);
        }
        self.everup(&["publish", &folder, "--version", version]).done()
    }

    /// Starts the fleet, and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn up(self) -> Fleet {
        Fleet::start(self)
    }

    /// A fleet of `program` in service as release 1, with release 2 published.
    #[track_caller]
    pub(crate) fn serving(setup: &Setup, first: &Program, second: &Program) -> Fleet {
        let shop = Self::new(setup);
        shop.publish("1", first);
        shop.publish("2", second);
        let fleet = shop.up();
        // Nobody came yet, so nothing was measured.
        fleet.deploy(&["1"]).succeeded_somehow();
        fleet
    }
}

impl Drop for Shop {
    /// Whatever a test has started in the folder ends with it.
    fn drop(&mut self) {
        processes::sweep(self.path());
    }
}

impl Said {
    /// It ended with 0.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.ended(0)
    }

    /// It ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Its stderr holds each of `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "it does not say {word:?}:\n{}", self.err);
        }
        self
    }
}

/// A port that is free now, outside of the range from which the kernel takes ports for connections, and never the
/// first of eight, which is an instance's. Tests in other processes begin elsewhere, and no two in this one share any.
fn address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u32 = range.split_whitespace().next().unwrap().parse().unwrap();
    let blocks = (low - 10_000) / 8;
    let first = std::process::id().wrapping_mul(37);
    let next = (0..blocks).map(|_| first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)));
    let ports = next.map(|n| 10_000 + (n % blocks) * 8 + 7);
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// Limits are short, so that a test is; what the test says itself goes before.
const LIMITS: [(&str, &str); 4] =
    [("drain", "5s"), ("start", "20s"), ("prove", "500ms"), ("linger", "500ms")];

fn settings(setup: &Setup, shop: &Shop) -> String {
    let Setup { instances, gate, deploy, hold, health } = setup;
    let (address, folder) = (shop.address, shop.path().display());
    let limits = LIMITS.into_iter().filter(|(key, _)| !deploy.contains(&format!("{key} =")));
    let limits: String = limits.map(|(key, span)| format!("{key} = \"{span}\"\n")).collect();
    format!(
        "application = \"shop\"
[app]
stop = \"3s\"
env = {{ SHOP = \"{folder}\" }}
[health]
{health}
interval = \"200ms\"
deadline = \"2s\"
[listen]
address = \"{address}\"
[fleet]
min = 1
max = 12
desired = {instances}
zones = [\"a\", \"b\"]
gate = \"{gate}\"
[deploy]
{limits}{deploy}
[hold]
{hold}
"
    )
}
