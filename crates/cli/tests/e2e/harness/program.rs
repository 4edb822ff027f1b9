//! What is deployed: programs that nobody here wrote, and one that does as it is told.

use std::path::Path;

/// A release's content.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    command: String,
    files: Vec<(&'static str, String)>,
    migration: Option<(String, String)>,
    undo: Option<String>,
}

/// What is wrong with a release of [`Program::app`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    NeverHealthy,
    ExitsAtOnce,
    DiesSoon,
    DiesThird,
    WrongPort,
    WrongVersion,
    HangsOnStop,
}

impl Program {
    /// Python's own http.server with a folder.
    pub(crate) fn python() -> Self {
        Self::of(&format!("exec {} -m http.server --protocol HTTP/1.1 --bind 127.0.0.1 $PORT", python()))
    }

    /// A server that answers with its version, and can have a flaw; `apps/app.py` says which.
    pub(crate) fn app() -> Self {
        let mut program = Self::of(&format!("exec {} app.py", python()));
        program.files.push(("app.py", include_str!("../apps/app.py").to_owned()));
        program
    }

    /// A server that waits in each step of its life for the test's word to go on; `apps/patient.py` says how.
    pub(crate) fn patient() -> Self {
        let mut program = Self::of(&format!("exec {} patient.py", python()));
        program.files.push(("patient.py", include_str!("../apps/patient.py").to_owned()));
        program
    }

    /// nginx, with its own nginx.conf in the release.
    pub(crate) fn nginx() -> Self {
        // The port and a folder that it may write to are known when it starts: the release is read-only.
        let command = "sed \"s#@PORT@#$PORT#; s#@DATA@#$EVERUP_DATA#\" nginx.conf > \"$EVERUP_DATA/nginx.conf\" && \
                       exec nginx -e stderr -p \"$EVERUP_RELEASE\" -c \"$EVERUP_DATA/nginx.conf\"";
        let mut program = Self::of(command);
        program.files.push(("nginx.conf", include_str!("../apps/nginx.conf").to_owned()));
        program
    }

    /// A Node.js server.
    pub(crate) fn node() -> Self {
        let mut program = Self::of("exec node server.js");
        program.files.push(("server.js", include_str!("../apps/server.js").to_owned()));
        program
    }

    /// The demo's app, which answers everything that users do.
    pub(crate) fn demo() -> Self {
        let binary = env!("CARGO_BIN_EXE_everup");
        let mut program = Self::of(&format!("exec {binary} demo-app serve --database \"$SHOP/database\""));
        program.files.push(("demo.conf", "schema=1\nstart_ms=100".to_owned()));
        program
    }

    fn of(command: &str) -> Self {
        Self { command: command.to_owned(), files: Vec::new(), migration: None, undo: None }
    }

    /// Started in another way.
    pub(crate) fn command(mut self, command: &str) -> Self {
        self.command = command.to_owned();
        self
    }

    /// The command that starts it.
    pub(crate) fn says_how(&self) -> &str {
        &self.command
    }

    /// With something wrong.
    pub(crate) fn with(mut self, flaw: Flaw) -> Self {
        self.files.push(("flaw", format!("{flaw:?}")));
        self
    }

    /// With a migration.
    pub(crate) fn migrating(mut self, id: &str, command: &str) -> Self {
        self.migration = Some((id.to_owned(), command.to_owned()));
        self
    }

    /// And what takes it back.
    pub(crate) fn undoing(mut self, command: &str) -> Self {
        self.undo = Some(command.to_owned());
        self
    }

    /// With another file.
    pub(crate) fn file(mut self, name: &'static str, text: &str) -> Self {
        self.files.retain(|(kept, _)| *kept != name);
        self.files.push((name, text.to_owned()));
        self
    }

    /// Its files, as release `version`.
    pub(crate) fn files(&self, version: &str) -> Vec<(&'static str, String)> {
        let mut files = self.files.clone();
        files.push(("index.html", format!("version {version}\n")));
        files.push(("everup.release.toml", self.says()));
        files
    }

    fn says(&self) -> String {
        let quoted = |text: &str| format!("'''{text}'''");
        let start = format!("[start]\ncommand = {}\n", quoted(&self.command));
        let migration = self
            .migration
            .as_ref()
            .map(|(id, command)| format!("[migration]\nid = \"{id}\"\ncommand = {}\n", quoted(command)));
        let undo = self.undo.as_ref().map(|command| format!("undo = {}\n", quoted(command)));
        start + &migration.unwrap_or_default() + &undo.unwrap_or_default()
    }
}

/// The system's own where there is one: a shim before it would cost each start half a second.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}
