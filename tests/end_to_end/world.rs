//! A source, a proxy and a backup server, and what must hold after each change of the source.

use std::collections::{BTreeMap, BTreeSet};

use crate::rig::{BackupServer, Cyrus, Engine, Fetched, Output, Proxy, Source};

/// Everything that runs in one test.
pub(crate) struct World {
    pub(crate) source: Source,
    pub(crate) backup: BackupServer,
    pub(crate) proxy: Proxy,
    users: Vec<String>,
    shared: Vec<String>,
    engine: Engine,
    thorough: bool,
    /// The client keeps a cache of our answers, and may find out by a failing run that it is stale.
    caching: bool,
}

impl World {
    /// Starts everything; `None` where the real Cyrus is missing (said by the rig).
    pub(crate) fn new() -> Option<World> {
        let engine = match std::env::var("RIG_ENGINE").as_deref() {
            Ok("c") => Engine::C,
            _ => Engine::Ours,
        };
        World::of(Cyrus::find()?, engine, "")
    }

    /// With a source of any version, and more options in its imapd.conf.
    pub(crate) fn of(cyrus: Cyrus, engine: Engine, options: &str) -> Option<World> {
        let proxy = Proxy::start();
        let mut backup = BackupServer::new(Cyrus::find()?);
        proxy.lead_to(backup.start(engine));
        let source = Source::start_with(cyrus, proxy.port, options);
        Some(World {
            source,
            backup,
            proxy,
            users: Vec::new(),
            shared: Vec::new(),
            engine,
            thorough: true,
            caching: options.contains("sync_cache_db_path"),
        })
    }

    /// A user that `settle` looks after.
    pub(crate) fn user(&mut self, user: &str) {
        self.users.push(user.to_owned());
    }

    /// A shared mailbox that `settle` looks after.
    pub(crate) fn shared(&mut self, mailbox: &str) {
        self.shared.push(mailbox.to_owned());
    }

    pub(crate) fn users(&self) -> &[String] {
        &self.users
    }

    /// The user has another name from now on.
    pub(crate) fn replace_user(&mut self, from: &str, to: &str) {
        let user = self.users.iter_mut().find(|user| *user == from);
        *user.expect("a user of this world") = to.to_owned();
    }

    /// `sync_client -m` for every mailbox there is; changes that it does not carry stay behind.
    #[track_caller]
    pub(crate) fn sync_mailboxes(&self, step: &str) {
        self.proxy.take();
        let mut names = Vec::new();
        for user in &self.users {
            let own = self.source.imap(user).list();
            let own = own
                .into_iter()
                .filter(|name| name == "INBOX" || name.starts_with("INBOX/"));
            names.extend(own.map(|name| format!("user/{user}{}", &name["INBOX".len()..])));
        }
        names.extend(self.shared.iter().cloned());
        let args = [vec!["-m".to_owned()], names].concat();
        let run = self.run(&args);
        assert_eq!(
            run.code,
            Some(0),
            "{step}: sync_client {args:?}\n{}{}",
            run.out,
            run.err
        );
        self.nothing_refused(step);
    }

    /// Every command since the last look was answered `OK`; that something does not exist is fine.
    #[track_caller]
    pub(crate) fn nothing_refused(&self, step: &str) {
        let mut refused = self.refused();
        // A daemon may be in the middle of a login.
        refused
            .retain(|line| !line.contains("IMAP_MAILBOX_NONEXISTENT") && !line.ends_with(": None"));
        assert!(refused.is_empty(), "{step}: {refused:#?}");
    }

    /// Whether our backupd answers at the moment.
    pub(crate) fn is_ours(&self) -> bool {
        self.engine == Engine::Ours
    }

    /// Stops the present backupd and lets the other engine go on with the same files.
    pub(crate) fn switch_to(&mut self, engine: Engine) {
        self.engine = engine;
        self.proxy.lead_to(self.backup.start(engine));
    }

    /// Backs everything up, then looks from all sides whether the backup holds what the source has.
    #[track_caller]
    pub(crate) fn settle(&mut self, step: &str) {
        self.sync(step);
        self.second_run_sends_nothing(step);
        self.check(step);
    }

    /// `sync_client -u` for the users and `-m` for the shared mailboxes; both must exit 0.
    #[track_caller]
    pub(crate) fn sync(&self, step: &str) {
        if self.caching {
            self.runs().iter().for_each(|args| drop(self.run(args)));
        }
        self.proxy.take();
        let runs: Vec<_> = self
            .runs()
            .into_iter()
            .map(|args| (self.run(&args), args))
            .collect();
        let refused = self.refused();
        for (run, args) in runs {
            let said = format!("{}\n{}{refused:#?}", run.out, run.err);
            assert_eq!(run.code, Some(0), "{step}: sync_client {args:?}\n{said}");
        }
        let hard: Vec<_> = refused
            .iter()
            .filter(|line| !line.contains("IMAP_MAILBOX_NONEXISTENT"))
            .collect();
        assert!(hard.is_empty(), "{step}: {hard:#?}");
    }

    /// Commands of the last runs that were not answered `OK`, with the answers.
    pub(crate) fn refused(&self) -> Vec<String> {
        let sessions = self.proxy.take();
        let exchanges = sessions.iter().flat_map(|transcript| &transcript.exchanges);
        let refused = exchanges.filter(|exchange| exchange.is_refused());
        refused
            .map(|exchange| {
                let command = String::from_utf8_lossy(&exchange.command);
                let answer = exchange
                    .answer
                    .last()
                    .map(|line| String::from_utf8_lossy(line));
                format!("{command:.300}: {answer:?}")
            })
            .collect()
    }

    fn run(&self, args: &[String]) -> Output {
        self.source
            .sync(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    pub(crate) fn second_run_sends_nothing(&self, step: &str) {
        self.proxy.take();
        self.sync_only(step);
        let applied: Vec<String> = self
            .proxy
            .take()
            .iter()
            .flat_map(|transcript| transcript.commands("APPLY "))
            .collect();
        // C stores neither quotas nor the active script, so its client repeats them (W 14, 10).
        let repeated = |line: &String| {
            line.starts_with("APPLY QUOTA") || line.starts_with("APPLY ACTIVATE_SIEVE")
        };
        let applied: Vec<_> = applied
            .into_iter()
            .filter(|line| self.is_ours() || !repeated(line))
            .collect();
        assert!(
            applied.is_empty(),
            "{step}: a second run sends {applied:#?}"
        );
    }

    /// Leaves C's verify and reindex out of `check` for now: they take some 20 s of a chunk with many messages
    /// (O 10.7).
    pub(crate) fn be_thorough(&mut self, thorough: bool) {
        self.thorough = thorough;
    }

    /// C's verify, C's listings, C's reindex.
    #[track_caller]
    pub(crate) fn check(&self, step: &str) {
        self.c_lists_what_imap_has(step);
        if self.thorough {
            self.backup.verify_with_c(step);
            self.c_reindexes_to_the_same(step);
        }
    }

    #[track_caller]
    pub(crate) fn c_lists_what_imap_has(&self, step: &str) {
        for user in &self.users {
            let listed = self.backup.live_messages(user);
            for (mailbox, has) in self.imap_messages(user) {
                let empty = BTreeSet::new();
                let listed = listed.get(&mailbox).unwrap_or(&empty);
                assert_same(step, &mailbox, &has, listed);
            }
        }
        let listed = if self.shared.is_empty() {
            BTreeMap::new()
        } else {
            self.backup.live_messages("%SHARED")
        };
        let mut imap = self.source.imap(&self.users[0]);
        for mailbox in &self.shared {
            let empty = BTreeSet::new();
            // The tools list internal names.
            // The tools list internal names.
            let listed = listed.get(&mailbox.replace('/', ".")).unwrap_or(&empty);
            assert_same(step, mailbox, &live(imap.messages(mailbox)), listed);
        }
    }

    #[track_caller]
    pub(crate) fn c_reindexes_to_the_same(&self, step: &str) {
        for (user, data_file) in self.backup.backups() {
            let ours = self.backup.rows(&data_file);
            let theirs = self.backup.rows_reindexed_by_c(&data_file);
            let differences = ours.differences(&theirs);
            if !differences.is_empty() {
                let kept = self.backup.keep();
                panic!(
                    "{step}: {user}: index (first) and C's reindex (second) differ:\n{}{kept}",
                    differences.join("\n")
                );
            }
        }
    }

    /// (uid, guid) of every message in a user's own mailboxes, by internal mailbox name.
    pub(crate) fn imap_messages(&self, user: &str) -> BTreeMap<String, BTreeSet<(u32, String)>> {
        let mut imap = self.source.imap(user);
        let own: Vec<String> = imap
            .list()
            .into_iter()
            .filter(|name| name == "INBOX" || name.starts_with("INBOX/"))
            .collect();
        assert!(
            own.iter().any(|name| name == "INBOX"),
            "{user} lists {own:?}"
        );
        own.into_iter()
            .map(|name| {
                let folder = name["INBOX".len()..].replace('.', "^").replace('/', ".");
                (
                    format!("user.{}{folder}", user.replace('.', "^")),
                    live(imap.messages(&name)),
                )
            })
            .collect()
    }

    fn sync_only(&self, step: &str) {
        for args in self.runs() {
            let run = self.run(&args);
            assert_eq!(
                run.code,
                Some(0),
                "{step}, again: sync_client {args:?}\n{}\n{}",
                run.out,
                run.err
            );
        }
    }

    fn runs(&self) -> Vec<Vec<String>> {
        let run = |mode: &str, names: &[String]| [&[mode.to_owned()], names].concat();
        let all = [run("-u", &self.users), run("-m", &self.shared)];
        all.into_iter().filter(|args| args.len() > 1).collect()
    }
}

fn live(messages: Vec<Fetched>) -> BTreeSet<(u32, String)> {
    messages
        .into_iter()
        .map(|message| (message.uid, message.guid))
        .collect()
}

#[track_caller]
fn assert_same(
    step: &str,
    mailbox: &str,
    has: &BTreeSet<(u32, String)>,
    listed: &BTreeSet<(u32, String)>,
) {
    let missing: Vec<_> = has.difference(listed).take(5).collect();
    let beyond: Vec<_> = listed.difference(has).take(5).collect();
    assert!(
        missing.is_empty() && beyond.is_empty(),
        "{step}: {mailbox}: IMAP has {}, C lists {}; missing {missing:?}, beyond {beyond:?}",
        has.len(),
        listed.len()
    );
}
