//! A [`Service`] for tests: writes down what it was asked and answers from memory.

use std::sync::{Arc, Mutex};

use super::Service;
use crate::backupd::staging::Staging;
use crate::backupd::work::Work;
use crate::csync::command::{Apply, Get};
use crate::csync::response::{Code, Reply};

/// What the fake was asked, in order; shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// The calls since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(crate) fn service(&self) -> Box<dyn Service> {
        Box::new(Fake(self.clone()))
    }

    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

struct Fake(Asked);

impl Service for Fake {
    fn get(&mut self, get: Get, out: &mut Vec<u8>) -> Reply {
        match &get {
            Get::User(user) if user == "panic" => panic!("asked to"),
            Get::User(user) if user == "much" => {
                out.extend_from_slice(format!("* LSUB {}\r\n", "x".repeat(100_000)).as_bytes());
            }
            Get::Unknown(name) => {
                return Reply::No(Code::ProtocolError, format!("Unknown command {name}"));
            }
            _ => {}
        }
        self.0.note(format!("{get:?}"));
        Reply::Ok("Success".into())
    }

    fn apply(&mut self, apply: Apply<'_>, staging: &mut Staging, _out: &mut Vec<u8>) -> Reply {
        let call = match apply {
            Apply::Reserve(reserve) => {
                let held = reserve
                    .guids
                    .iter()
                    .filter(|guid| staging.get(guid).is_some());
                format!(
                    "Reserve: {} of {} staged",
                    held.count(),
                    reserve.guids.len()
                )
            }
            Apply::Mailbox(update) => {
                let records = update
                    .records
                    .iter()
                    .filter(|record| record.is_ok())
                    .count();
                format!("Mailbox: {records} records")
            }
            apply => format!("{apply:?}"),
        };
        self.0.note(call);
        Reply::Ok("Success".into())
    }

    fn restart(&mut self) -> Reply {
        self.0.note("restart".into());
        Reply::Ok("Restarting".into())
    }

    fn idle(&mut self) {
        self.0.note("idle".into());
    }

    fn close(&mut self) {
        self.0.note("close".into());
    }

    fn take_work(&mut self) -> Work {
        Work::default()
    }
}
