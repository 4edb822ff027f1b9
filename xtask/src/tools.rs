//! The programs that nobody here wrote and the suites need: from Debian's packages where they are missing.

use crate::counts::Counts;
use crate::stream::stream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A program, and the package that has it.
const DEBIAN: [(&str, &str); 6] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("node", "nodejs"),
    ("python3", "python3"),
    ("faketime", "faketime"),
    ("strace", "strace"),
];

/// For a package list and a few packages over a slow line.
const INSTALL: Duration = Duration::from_secs(10 * 60);

/// Sees that every program is there; counts each.
pub(crate) fn ensure() -> Result<Counts, String> {
    let mut wanted = missing(&DEBIAN);
    wanted.extend((!has_venv()).then_some("python3-venv"));
    install(&wanted)?;
    let mut counts = Counts::default();
    for (program, _) in DEBIAN {
        match find(program) {
            Some(path) => println!("{program}: {}", path.display()),
            None => println!("{program}: still missing"),
        }
        counts += Counts::one(find(program).is_some());
    }
    Ok(counts)
}

/// Where a program is; /usr/sbin is looked into although it is on few users' path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The packages of those programs that are not here.
pub(crate) fn missing(programs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    programs.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect()
}

/// The path on which programs are looked for; /usr/sbin is on few users' own.
pub(crate) fn path() -> String {
    let sbin = "/usr/sbin:/usr/local/sbin";
    std::env::var("PATH").map_or_else(|_| sbin.to_owned(), |path| format!("{path}:{sbin}"))
}

/// Debian has Python without what makes virtual environments.
fn has_venv() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).output().is_ok_and(|output| output.status.success())
}

/// Installs packages, as root; anybody else is told what to install.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if packages.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(format!("missing here; as root: apt-get install {}", packages.join(" ")));
    }
    apt(&["update", "--quiet"])?;
    let mut words = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    words.extend(packages);
    apt(&words)
}

/// The packages' own services stay off: in run level 1 Debian starts none.
fn apt(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    let status = stream(&mut command, INSTALL, |_| {})?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {} ended with {status}", words.join(" "))) }
}
