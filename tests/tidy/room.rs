//! Which file of a room uses which: from the paths that stand in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::tokens::{is_word, tokens, without_tests};

/// Where a module is in the crate: `["backupd", "service", "get"]`.
type Name = Vec<String>;

/// The files of a room, without those that only tests see.
pub struct Room {
    modules: BTreeMap<Name, Module>,
}

struct Module {
    file: String,
    /// The words outside of `use` and `mod`.
    body: BTreeSet<String>,
    paths: Vec<Said>,
}

/// A path as it stands in a file.
struct Said {
    words: Name,
    /// It is passed on: `pub use`.
    exported: bool,
}

impl Room {
    pub fn read(room: &str) -> Room {
        let mut modules = BTreeMap::new();
        let directory = Path::new("src").join(room);
        read(
            &directory.join("mod.rs"),
            &directory,
            &[room.to_owned()],
            &mut modules,
        );
        Room { modules }
    }

    /// The groups of files of which each uses, perhaps by way of others, all the others.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let names = self.modules.keys();
        let uses: BTreeMap<&Name, BTreeSet<Name>> =
            names.map(|name| (name, self.uses(name))).collect();
        let reached: BTreeMap<&Name, BTreeSet<&Name>> = uses
            .keys()
            .map(|name| (*name, reach(name, &uses)))
            .collect();
        let mut circles = BTreeSet::new();
        for (name, there) in reached.iter().filter(|(name, there)| there.contains(*name)) {
            let circle = there.iter().filter(|other| reached[*other].contains(name));
            let files: BTreeSet<&str> = circle
                .map(|&other| self.modules[other].file.as_str())
                .collect();
            circles.insert(files.into_iter().collect());
        }
        circles.into_iter().collect()
    }

    /// Who uses whom, among these files.
    pub fn edges(&self, files: &[&str]) -> Vec<String> {
        let mut edges = Vec::new();
        for (name, module) in &self.modules {
            for used in self.uses(name) {
                let (user, used) = (module.file.as_str(), self.modules[&used].file.as_str());
                if files.contains(&user) && files.contains(&used) {
                    edges.push(format!("{user} uses {used}"));
                }
            }
        }
        edges
    }

    /// The modules that a module uses for more than to pass on what is theirs.
    fn uses(&self, name: &Name) -> BTreeSet<Name> {
        let module = &self.modules[name];
        let said_again = |said: &Said| said.words.last().is_some_and(|it| module.body.contains(it));
        let paths = module
            .paths
            .iter()
            .filter(|said| !said.exported || said_again(said));
        let used = paths.filter_map(|said| self.resolve(name, &said.words));
        used.filter(|used| used != name).collect()
    }

    /// The module of the room in which the thing is that a path means; none for what is elsewhere.
    fn resolve(&self, from: &Name, words: &[String]) -> Option<Name> {
        let (mut here, rest) = match words {
            [first, room, rest @ ..] if first == "crate" => (vec![room.clone()], rest),
            _ => (from.clone(), words),
        };
        if !self.modules.contains_key(&here) {
            return None;
        }
        for (at, word) in rest.iter().enumerate() {
            let child = [here.as_slice(), std::slice::from_ref(word)].concat();
            if word == "super" {
                here.pop();
            } else if self.modules.contains_key(&child) {
                here = child;
            } else if word != "self" {
                let named = |said: &&Said| said.exported && said.words.last() == Some(word);
                let export = self.modules[&here].paths.iter().find(named);
                return match export {
                    Some(export) => self.resolve(&here, &export.words),
                    // A word of another crate, or of this module itself.
                    None if at == 0 && words[0] == *word => None,
                    None => Some(here),
                };
            }
        }
        Some(here)
    }
}

fn read(file: &Path, directory: &Path, name: &[String], modules: &mut BTreeMap<Name, Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut tokens = tokens(&text);
    without_tests(&mut tokens);
    for three in tokens
        .windows(3)
        .filter(|three| three[0] == "mod" && three[2] == ";")
    {
        let child = [name, &three[1..2]].concat();
        let below = directory.join(&three[1]);
        let file = [below.with_extension("rs"), below.join("mod.rs")];
        let found = file.iter().find(|file| file.exists());
        let file = found.unwrap_or_else(|| panic!("no file of the module {child:?}"));
        read(file, &below, &child, modules);
    }
    let module = Module {
        file: file
            .strip_prefix("src")
            .unwrap_or(file)
            .display()
            .to_string(),
        paths: paths(&tokens),
        body: body(&tokens),
    };
    modules.insert(name.to_vec(), module);
}

fn reach<'a>(from: &Name, uses: &'a BTreeMap<&Name, BTreeSet<Name>>) -> BTreeSet<&'a Name> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&Name> = uses[from].iter().collect();
    while let Some(name) = waiting.pop() {
        if reached.insert(name) {
            waiting.extend(&uses[name]);
        }
    }
    reached
}

fn body(tokens: &[String]) -> BTreeSet<String> {
    let mut outside = true;
    let words = tokens.iter().filter(|token| {
        match token.as_str() {
            "use" | "mod" => outside = false,
            ";" => outside = true,
            _ => {}
        }
        outside
    });
    words.cloned().collect()
}

/// All paths of a file; trees of `use` are taken apart.
fn paths(tokens: &[String]) -> Vec<Said> {
    let mut found = Vec::new();
    let (mut at, mut exported) = (0, false);
    while at < tokens.len() {
        let before = at.checked_sub(1).map(|before| tokens[before].as_str());
        match tokens[at].as_str() {
            "use" => exported = matches!(before, Some("pub" | ")")),
            ";" => exported = false,
            _ => {}
        }
        let starts = is_word(&tokens[at]) && tokens.get(at + 1).is_some_and(|next| next == "::");
        if starts && !matches!(before, Some("::" | ".")) {
            let mut all = Vec::new();
            at = tree(tokens, at, &[], &mut all);
            found.extend(all.into_iter().map(|words| Said { words, exported }));
        } else {
            at += 1;
        }
    }
    found
}

/// The paths of the tree at `at`; where what is behind it starts.
fn tree(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Name>) -> usize {
    let mut words = before.to_vec();
    loop {
        match tokens.get(at) {
            Some(token) if token == "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &words, found);
                    while tokens
                        .get(at)
                        .is_some_and(|token| ![",", "}"].contains(&token.as_str()))
                    {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            Some(token) if is_word(token) => {
                words.push(token.clone());
                at += 1;
            }
            _ => break,
        }
        match tokens.get(at) {
            Some(token) if token == "::" => at += 1,
            _ => break,
        }
    }
    found.push(words);
    // So that nothing is read twice, and nothing for ever.
    at.max(1)
}

#[test]
fn paths_are_taken_apart() {
    let text =
        "pub use a::{b::C, d}; use super::{self, e::F as G}; fn f() { h::i::<u8>(x.y::<Z>()) }";
    let found = paths(&tokens(text));
    let told: Vec<String> = found
        .iter()
        .map(|said| {
            format!(
                "{}{}",
                said.words.join("::"),
                if said.exported { "!" } else { "" }
            )
        })
        .collect();
    assert_eq!(
        told,
        ["a::b::C!", "a::d!", "super::self", "super::e::F", "h::i"]
    );
}
