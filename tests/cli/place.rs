//! A directory with an imapd.conf, copies of the fixtures in `b/` and a backups.db that names some of them; and
//! two programs run on it, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cyrusbackup::store::catalog::Catalog;
use cyrusbackup::types::BackupKey;

use super::rig::{Cyrus, Instance, Output, our_binary, run};

/// C hangs on some files; nothing here takes longer than a moment, on a machine that is not busy.
const LIMIT: Duration = Duration::from_secs(180);

/// The fixtures were made in November 2026: by default they would be older than the retention some day.
const RETENTION: &str = "backup_retention: 9000d\n";

pub struct Place {
    instance: Instance,
}

/// Keys of backups.db and the fixture each names; `gone` has no file.
const CATALOG: [(&str, &str); 6] = [
    ("%SHARED", "craft-n"),
    ("carol", "carol"),
    ("carolx", "carol"),
    ("bethany", "bethany_sGEZYM"),
    ("dave@example.com", "craft-emptychunk"),
    ("gone", "gone"),
];

impl Place {
    /// `None` (said on stderr) without C's programs.
    pub fn new() -> Option<Place> {
        let instance = Instance::new(Cyrus::find()?, "cli", RETENTION);
        let place = Place { instance };
        fs::create_dir(place.path("b")).unwrap();
        place.give("b");
        for entry in fs::read_dir(fixtures()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.ends_with(".md") {
                fs::copy(entry.path(), place.path(&format!("b/{name}"))).unwrap();
                place.give(&format!("b/{name}"));
            }
        }
        let catalog = Catalog::new(place.path("conf/backups.db"));
        for (key, file) in CATALOG {
            let key = BackupKey::from_userid(key).unwrap();
            catalog
                .insert(&key, &place.path(&format!("b/{file}")))
                .unwrap();
        }
        place.give("conf/backups.db");
        Some(place)
    }

    /// More lines for imapd.conf, in the place of those said before; `@B@` is the directory.
    pub fn configure(&self, options: &str) {
        let retention = match options.contains("backup_retention") {
            true => "",
            false => RETENTION,
        };
        self.instance.configure(&format!("{options}{retention}"));
    }

    /// Makes directories that the user cyrus owns.
    pub fn mkdir(&self, name: &str) {
        let mut path = String::new();
        for component in name.split('/') {
            path.push_str(component);
            if !self.path(&path).is_dir() {
                fs::create_dir(self.path(&path)).unwrap();
                self.give(&path);
            }
            path.push('/');
        }
    }

    /// backups.db.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.path("conf/backups.db"))
    }

    /// Starts a command line with our tool, to be killed.
    pub fn start(&self, line: &str) -> std::process::Child {
        let (tool, words) = split(line);
        let mut command = self.instance.command(our_binary(tool));
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        silent.args(words).spawn().unwrap()
    }

    /// A path below the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.instance.dir().join(name)
    }

    /// Writes a file that the user cyrus owns.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        self.give(name);
    }

    /// Copies a backup with its index below another name.
    pub fn copy(&self, from: &str, to: &str) {
        for suffix in ["", ".index"] {
            let bytes = fs::read(self.path(&format!("{from}{suffix}"))).unwrap();
            self.write(&format!("{to}{suffix}"), &bytes);
        }
    }

    /// Changes rows of a backup's index.
    pub fn sql(&self, backup: &str, sql: &str) {
        let index = rusqlite::Connection::open(self.path(&format!("{backup}.index"))).unwrap();
        index
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
            .unwrap();
    }

    /// Runs a command line (`tool word word…`) with C's tool.
    pub fn c(&self, line: &str) -> Output {
        let (tool, words) = split(line);
        self.run(&format!("/usr/lib/cyrus/bin/{tool}"), &words)
    }

    /// Runs a command line with our tool.
    pub fn ours(&self, line: &str) -> Output {
        let (tool, words) = split(line);
        self.run(our_binary(tool), &words)
    }

    /// C's and ours say the same and end the same.
    #[track_caller]
    pub fn same(&self, line: &str) {
        self.differs(line, |c| c);
    }

    /// Ours says what `difference` makes of C's output.
    #[track_caller]
    pub fn differs(&self, line: &str, difference: impl Fn(Output) -> Output) {
        let expected = difference(self.c(line));
        let mut ours = self.ours(line);
        ours.out = without_damage(&ours.out);
        let show = |output: &Output| {
            format!(
                "exit {:?}\nstdout:\n{}\nstderr:\n{}",
                output.code, output.out, output.err
            )
        };
        assert_eq!(
            show(&ours),
            show(&expected),
            "ours (left) is not as C's (right): {line}"
        );
    }

    /// Runs a program (not the one that the line names) with more environment.
    pub fn run_with(&self, program: &str, line: &str, env: &[(&str, &str)]) -> Output {
        let (_, words) = split(line);
        run(
            self.instance
                .command(program)
                .args(words)
                .envs(env.iter().copied()),
            LIMIT,
        )
    }

    /// Our tool, about to be started.
    pub fn command(&self, line: &str) -> std::process::Command {
        let (tool, words) = split(line);
        let mut command = self.instance.command(our_binary(tool));
        command.args(words);
        command
    }

    /// Runs a command line with our tool; the system calls of these names that it made, as strace shows them, with
    /// so many octets of each string.
    pub fn traced(&self, line: &str, calls: &str, octets: u32) -> String {
        let (tool, words) = split(line);
        let cyrus = &self.instance.cyrus;
        let trace = self.path("trace");
        let mut strace = cyrus.command("/usr/bin/strace", cyrus.uid, cyrus.gid);
        strace.args([
            "-f",
            "-xx",
            "-s",
            &octets.to_string(),
            "-e",
            &format!("trace={calls}"),
            "-o",
        ]);
        strace
            .arg(&trace)
            .arg(our_binary(tool))
            .arg("-C")
            .arg(self.instance.conf());
        let output = run(strace.args(words).current_dir(self.instance.dir()), LIMIT);
        assert!(
            [Some(0), Some(75)].contains(&output.code),
            "{line}: {}",
            output.err
        );
        fs::read_to_string(trace).unwrap()
    }

    /// Gives a directory and the files in it to the user cyrus.
    pub fn give_all(&self, directory: &str) {
        self.give(directory);
        for entry in fs::read_dir(self.path(directory)).unwrap() {
            self.instance.give_to_cyrus(&entry.unwrap().path());
        }
    }

    /// The same, saying nothing.
    pub fn quiet(&self, line: &str) -> std::process::Command {
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// C's ctl_backups with words that have blanks.
    pub fn c_words(&self, words: &[&str]) -> Output {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        self.run("/usr/lib/cyrus/bin/ctl_backups", &words)
    }

    /// Ours with words that have blanks.
    pub fn our_words(&self, words: &[&str]) -> Output {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        self.run(our_binary("ctl_backups"), &words)
    }

    /// Rows of a backup's index, printed.
    pub fn rows(&self, backup: &str, query: &str) -> Vec<String> {
        let index = rusqlite::Connection::open(self.path(&format!("{backup}.index"))).unwrap();
        let mut query = index.prepare(query).unwrap();
        let columns = query.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let value = |column| row.get::<_, rusqlite::types::Value>(column).unwrap();
            Ok(format!("{:?}", (0..columns).map(value).collect::<Vec<_>>()))
        };
        query
            .query_map([], row)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// Runs a shell script in the directory, as the user cyrus, with programs from this directory first.
    pub fn shell(&self, programs: &Path, script: &str, limit: Duration) -> Output {
        let cyrus = &self.instance.cyrus;
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let mut shell = cyrus.command("/bin/sh", cyrus.uid, cyrus.gid);
        shell.arg("-c").arg(script).env("PATH", path);
        run(shell.current_dir(self.instance.dir()), limit)
    }

    fn run(&self, program: &str, words: &[String]) -> Output {
        let mut output = run(self.instance.command(program).args(words), LIMIT);
        // getopt complains in the name of the program as it was started.
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        output.err = output
            .err
            .replace(&format!("{program}:"), &format!("{name}:"));
        output
    }

    /// Gives it to the user cyrus.
    pub fn give(&self, name: &str) {
        self.instance.give_to_cyrus(&self.path(name));
    }
}

/// Without what only ours says of damage (D16).
fn without_damage(out: &str) -> String {
    let lines = out.split_inclusive('\n');
    let mut out: String = lines.filter(|l| !l.starts_with("  damaged: ")).collect();
    while let Some(from) = out.find(",\n  \"damage\": [") {
        let to = out[from..].find("\n  ]").expect("the end of an array") + "\n  ]".len();
        out.replace_range(from..from + to, "");
    }
    out
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fixtures")
}

/// Words between single blanks; two blanks make an empty word.
fn split(line: &str) -> (&str, Vec<String>) {
    let mut words = line.split(' ');
    let tool = words.next().unwrap();
    (tool, words.map(str::to_owned).collect())
}
