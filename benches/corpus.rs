//! Realistic mail, the same for the same seed: plain, HTML, UTF-8 and attachments, replies that quote, messages
//! that stand in several folders. Written as a Maildir for each user, for `push_maildir` and for nothing else.

use std::fs;
use std::io;
use std::path::Path;

use crate::rig::Rng;

const FOLDERS: [&str; 5] = ["", ".Sent", ".Archive", ".Archive.2025", ".Entw&APw-rfe"];
/// Longest attachment, before base64.
const LONGEST: u64 = 14 << 20;

/// A writer of mail with a vocabulary of its own.
pub struct Corpus {
    rng: Rng,
    words: Vec<String>,
    /// Bodies of late messages, to be answered.
    threads: Vec<(String, String)>,
    count: u64,
}

impl Corpus {
    /// Everything that follows depends on the seed alone.
    pub fn new(seed: u64) -> Corpus {
        let mut rng = Rng::new(seed);
        let words = (0..6000).map(|_| word(&mut rng)).collect();
        Corpus {
            rng,
            words,
            threads: Vec::new(),
            count: 0,
        }
    }

    /// Writes a user's Maildir of so many messages; returns its octets.
    pub fn write_user(&mut self, maildir: &Path, messages: usize) -> io::Result<u64> {
        for folder in FOLDERS {
            for dir in ["cur", "new", "tmp"] {
                fs::create_dir_all(maildir.join(folder).join(dir))?;
            }
        }
        let (mut octets, mut last) = (0, Vec::new());
        for number in 0..messages {
            // Some messages are filed twice.
            if !self.rng.next().is_multiple_of(30) || last.is_empty() {
                last = self.message();
            }
            octets += last.len() as u64;
            let folder = FOLDERS[skewed(&mut self.rng, FOLDERS.len())];
            let flags = ["", "S", "S", "RS", "FS"][self.rng.next() as usize % 5];
            let name = format!(
                "cur/{}.M{number}.bench:2,{flags}",
                1_700_000_000 + number * 60
            );
            fs::write(maildir.join(folder).join(name), &last)?;
        }
        Ok(octets)
    }

    /// The next message, its lines ending in LF.
    pub fn message(&mut self) -> Vec<u8> {
        self.count += 1;
        let answered = self.rng.next().is_multiple_of(2) && !self.threads.is_empty();
        let parent = answered.then(|| {
            let place = self.rng.next() as usize % self.threads.len();
            self.threads[place].clone()
        });
        let subject = match &parent {
            Some((subject, _)) => format!("Re: {}", subject.trim_start_matches("Re: ")),
            None => self.sentence(4),
        };
        let octave = skewed(&mut self.rng, 7) as u32;
        let length = self.rng.within(300, 700) << octave;
        let mut text = self.text(length as usize);
        if let Some((_, body)) = &parent {
            text += "\n";
            for line in body.lines().take(60) {
                text += "> ";
                text += line;
                text += "\n";
            }
        }
        self.remember(&subject, &text);
        let mut message = self.head(&subject);
        match self.rng.next() % 100 {
            0..=49 => plain(&mut message, &text),
            50..=54 => quoted_printable(&mut message, &text),
            55..=91 => html(&mut message, &text),
            _ => self.attachment(&mut message, &text),
        }
        message.into_bytes()
    }

    fn remember(&mut self, subject: &str, text: &str) {
        if self.threads.len() == 200 {
            let place = self.rng.next() as usize % 200;
            self.threads.swap_remove(place);
        }
        self.threads.push((subject.to_owned(), text.to_owned()));
    }

    fn head(&mut self, subject: &str) -> String {
        let (from, to) = (self.person(), self.person());
        let (count, id) = (self.count, self.rng.next());
        let (day, hour, minute) = (count / 97 % 28 + 1, count % 24, count * 7 % 60);
        format!(
            "Return-Path: <{from}@example.org>\nReceived: from mx.example.org (mx.example.org [192.0.2.{}])\n\
             \tby mail.example.com (Postfix) with ESMTPS id {id:016X}\n\tfor <{to}@example.com>; \
             Mon, {day:02} Jun 2026 {hour:02}:{minute:02}:11 +0200 (CEST)\nDate: Mon, {day:02} Jun 2026 \
             {hour:02}:{minute:02}:09 +0200\nFrom: {from} <{from}@example.org>\nTo: {to} <{to}@example.com>\n\
             Subject: {subject}\nMessage-ID: <{id:016x}.{count}@example.org>\nMIME-Version: 1.0\n",
            count % 250
        )
    }

    fn person(&mut self) -> String {
        let place = skewed(&mut self.rng, 300);
        self.words[place].clone()
    }

    fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length + 100);
        while text.len() < length {
            for _ in 0..self.rng.within(2, 7) {
                let words = self.rng.within(8, 13) as usize;
                text += &self.sentence(words);
                text += "\n";
            }
            text += "\n";
        }
        text
    }

    fn sentence(&mut self, words: usize) -> String {
        let places = (0..words).map(|_| skewed(&mut self.rng, self.words.len()));
        let places: Vec<usize> = places.collect();
        let words: Vec<&str> = places.iter().map(|&place| &*self.words[place]).collect();
        words.join(" ")
    }

    /// Half of the attachments compress well, the others not at all.
    fn attachment(&mut self, message: &mut String, text: &str) {
        *message += "Content-Type: multipart/mixed; boundary=\"=_b\"\n\n--=_b\n";
        plain(message, text);
        *message += "\n--=_b\nContent-Type: application/octet-stream; name=\"scan.pdf\"\n\
                     Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"scan.pdf\"\n\n";
        let u = self.rng.within(0, 1 << 20) as f64 / f64::from(1 << 20);
        let length = (7_500.0 * (u.powi(20) * 11.0).exp2()).min(LONGEST as f64) as usize;
        let random = self.rng.next().is_multiple_of(2);
        let mut octets = Vec::with_capacity(length + 8);
        while octets.len() < length {
            let next = self.rng.next();
            octets.extend_from_slice(&if random { next } else { next & 0x0F0F }.to_le_bytes());
        }
        base64_lines(message, &octets);
        *message += "--=_b--\n";
    }
}

/// A place in `0..count`, small ones more often, as words in a language are.
fn skewed(rng: &mut Rng, count: usize) -> usize {
    let u = rng.within(0, 1 << 30) as f64 / f64::from(1 << 30);
    (u * u * u * count as f64) as usize
}

fn word(rng: &mut Rng) -> String {
    const PARTS: [&str; 32] = [
        "an", "be", "con", "der", "en", "fi", "ge", "hor", "in", "ju", "ka", "lo", "men", "no",
        "or", "per", "qui", "re", "sta", "ti", "un", "ver", "wa", "xi", "yo", "zu", "tion", "ment",
        "ly", "ing", "er", "s",
    ];
    let parts = 1 + skewed(rng, 5);
    (0..parts)
        .map(|_| PARTS[rng.next() as usize % PARTS.len()])
        .collect()
}

fn plain(message: &mut String, text: &str) {
    *message += "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n";
    *message += text;
}

fn quoted_printable(message: &mut String, text: &str) {
    *message +=
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n";
    *message += &text.replace("ver", "=C3=BC=62er").replace("ge", "g=C3=A9");
}

fn html(message: &mut String, text: &str) {
    *message += "Content-Type: multipart/alternative; boundary=\"=_a\"\n\n--=_a\n";
    plain(message, text);
    *message += "\n--=_a\nContent-Type: text/html; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n<html><head>\
                 <style>p.MsoNormal {margin:0cm; font-size:11.0pt; font-family:\"Calibri\",sans-serif;}</style></head>\
                 <body lang=\"EN-US\" link=\"#0563C1\" vlink=\"#954F72\">\n";
    for line in text.lines() {
        *message += "<p class=\"MsoNormal\"><span style=\"color:#1F497D\">";
        *message += line;
        *message += "</span></p>\n";
    }
    *message += "</body></html>\n--=_a--\n";
}

fn base64_lines(message: &mut String, octets: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in octets.chunks(57) {
        for group in line.chunks_exact(3) {
            let bits = group
                .iter()
                .fold(0_u32, |bits, &octet| bits << 8 | u32::from(octet));
            for shift in [18, 12, 6, 0] {
                message.push(char::from(ALPHABET[(bits >> shift & 63) as usize]));
            }
        }
        message.push('\n');
    }
}
