//! What a folder holds, by the files that its kind always has. The first that fits wins: what says how it is started
//! (Procfile), then what is built, then what is merely served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// "a Node.js app"; nothing if it was not recognised.
    pub what: Option<&'static str>,
    /// How it is started.
    pub command: String,
    /// Why it is started so.
    pub because: String,
    /// The lines of `[health]`.
    pub health: &'static str,
    /// What is done before it is published, if anything.
    pub build: Option<String>,
    /// The folder that is published.
    pub publish: &'static str,
}

const HTTP: &str = "path = \"/\"";
const TCP: &str = "tcp = true";

type Look = fn(&Path) -> Option<Guess>;

impl Guess {
    /// Looks at `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let looks: [Look; 11] =
            [procfile, node, django, python, jar, cargo, go, node_server, nginx, site, program];
        looks.iter().find_map(|look| look(folder)).unwrap_or_else(|| Self {
            what: None,
            command: "./server --port \"$PORT\"".to_owned(),
            because: "A guess: say here how the app is started.".to_owned(),
            health: TCP,
            build: None,
            publish: ".",
        })
    }
}

fn found(what: &'static str, command: impl Into<String>, because: impl Into<String>) -> Option<Guess> {
    let (command, because) = (command.into(), because.into());
    Some(Guess { what: Some(what), command, because, health: HTTP, build: None, publish: "." })
}

fn has(folder: &Path, file: &str) -> bool {
    folder.join(file).is_file()
}

fn read(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

fn procfile(folder: &Path) -> Option<Guess> {
    let text = read(folder, "Procfile")?;
    let web = text.lines().find_map(|line| line.strip_prefix("web:"))?;
    found("an app with a Procfile", web.trim(), "From the Procfile's line `web`.")
}

fn node(folder: &Path) -> Option<Guess> {
    let what = "a Node.js app";
    let package: serde_json::Value = serde_json::from_str(&read(folder, "package.json")?).ok()?;
    match package["scripts"]["start"].as_str() {
        // Without npm in between, the app itself gets the signal that ends it.
        Some(start) if start.starts_with("node ") => {
            found(what, format!("exec {start}"), "From `scripts.start` in package.json.")
        }
        Some(_) => found(what, "npm start", "From package.json; it has to read process.env.PORT."),
        None => {
            let named = package["main"].as_str().filter(|main| has(folder, main));
            let main =
                named.or_else(|| ["server.js", "app.js", "index.js"].into_iter().find(|f| has(folder, f)));
            let main = main.unwrap_or("index.js");
            found(what, format!("exec node {main}"), "It has to read process.env.PORT.")
        }
    }
}

/// Without package.json, and where it is nothing else: other names may as well be scripts of pages.
fn node_server(folder: &Path) -> Option<Guess> {
    let guess = found("a Node.js app", "exec node server.js", "It has to read process.env.PORT.");
    guess.filter(|_| has(folder, "server.js"))
}

fn django(folder: &Path) -> Option<Guess> {
    if !has(folder, "manage.py") {
        return None;
    }
    let settings = read(folder, "manage.py")?;
    let project =
        settings.split("DJANGO_SETTINGS_MODULE").nth(1).and_then(|rest| rest.split(['"', '\'']).nth(2));
    let project = project.and_then(|module| module.split('.').next()).unwrap_or("project");
    if requires(folder, "gunicorn") {
        let command = format!("exec gunicorn --bind \"127.0.0.1:$PORT\" {project}.wsgi");
        return found("a Django app", command, "gunicorn is in requirements.txt.");
    }
    let command = "exec python3 manage.py runserver --noreload \"127.0.0.1:$PORT\"";
    found("a Django app", command, "Django's own server; gunicorn suits production better.")
}

fn python(folder: &Path) -> Option<Guess> {
    let main = ["app.py", "main.py", "server.py"].into_iter().find(|file| has(folder, file))?;
    let module = main.trim_end_matches(".py");
    if requires(folder, "uvicorn") || requires(folder, "fastapi") {
        let command = format!("exec python3 -m uvicorn {module}:app --host 127.0.0.1 --port \"$PORT\"");
        return found("a FastAPI app", command, format!("`app` in {main}."));
    }
    if requires(folder, "gunicorn") {
        let command = format!("exec gunicorn --bind \"127.0.0.1:$PORT\" {module}:app");
        return found("a Python app", command, format!("`app` in {main}; gunicorn is in requirements.txt."));
    }
    if requires(folder, "flask") {
        let command = format!("exec python3 -m flask --app {module} run --port \"$PORT\"");
        return found("a Flask app", command, format!("`app` in {main}; gunicorn suits production better."));
    }
    found("a Python app", format!("exec python3 {main}"), "It has to read os.environ[\"PORT\"].")
}

/// Whether requirements.txt names `package`, in any case and version.
fn requires(folder: &Path, package: &str) -> bool {
    let text = read(folder, "requirements.txt").unwrap_or_default().to_lowercase();
    let name =
        |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().map(str::to_owned);
    text.lines().filter_map(|line| name(line.trim())).any(|name| name == package)
}

fn jar(folder: &Path) -> Option<Guess> {
    let jar = files(folder).into_iter().find(|name| name.ends_with(".jar"))?;
    let command = format!("exec java -jar {jar} --server.port=\"$PORT\"");
    found("a Java app", command, "As Spring Boot takes its port; others differ.")
}

fn cargo(folder: &Path) -> Option<Guess> {
    let manifest: toml::Table = read(folder, "Cargo.toml")?.parse().ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    let build = format!("cargo build --release && mkdir -p app && cp target/release/{name} app/");
    let because =
        "Published is the folder app, which holds the built program and what it needs; not the sources.";
    let guess = found("a Rust program", format!("exec ./{name}"), because)?;
    Some(Guess { health: TCP, build: Some(build), publish: "app", ..guess })
}

fn go(folder: &Path) -> Option<Guess> {
    let text = read(folder, "go.mod")?;
    let module = text.lines().find_map(|line| line.strip_prefix("module "))?.trim();
    let name = module.rsplit('/').next().unwrap_or(module);
    let because = "`go build` puts the program beside its sources; it is part of what is published.";
    let guess = found("a Go program", format!("exec ./{name}"), because)?;
    Some(Guess { health: TCP, build: Some("go build".to_owned()), ..guess })
}

fn nginx(folder: &Path) -> Option<Guess> {
    if !has(folder, "nginx.conf") {
        return None;
    }
    // nginx reads no environment; the two releases of an overlap must not share a file.
    let command = "sed \"s/[$]PORT/$PORT/g\" nginx.conf > \"$EVERUP_DATA/nginx-$PORT.conf\" && \
                   exec nginx -p \"$PWD\" -c \"$EVERUP_DATA/nginx-$PORT.conf\" -e stderr \
                   -g \"daemon off; pid $EVERUP_DATA/nginx-$PORT.pid;\"";
    found(
        "a site for nginx",
        command,
        "nginx.conf has to say `listen 127.0.0.1:$PORT`, and paths from the release's folder.",
    )
}

fn site(folder: &Path) -> Option<Guess> {
    if !has(folder, "index.html") {
        return None;
    }
    let command = "exec python3 -m http.server \"$PORT\" --bind 127.0.0.1";
    found("a folder of pages", command, "Python's own server; nginx suits production better.")
}

/// The only file that can be run.
fn program(folder: &Path) -> Option<Guess> {
    let runs = |name: &String| {
        let meta = folder.join(name).metadata();
        meta.is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
    };
    let mut programs = files(folder).into_iter().filter(runs);
    let only = programs.next().filter(|_| programs.next().is_none())?;
    Some(Guess {
        health: TCP,
        ..found("a program", format!("exec ./{only}"), "The only file here that can be run.")?
    })
}

/// The names of the files, sorted.
fn files(folder: &Path) -> Vec<String> {
    let items = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let files = items.filter(|item| item.path().is_file());
    let mut names: Vec<String> = files.filter_map(|item| item.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::Guess;

    #[test]
    fn a_server_in_javascript_needs_no_package() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.js"), "").unwrap();
        assert_eq!(Guess::of(folder.path()).what, None);
        std::fs::write(folder.path().join("server.js"), "").unwrap();
        assert_eq!(Guess::of(folder.path()).command, "exec node server.js");
    }
}
