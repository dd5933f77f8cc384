//! Mail to fill mailboxes with: the same seed makes the same messages.

/// SplitMix64: small, seeded, the same on every machine.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `from..to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }
}

/// A stream of messages of all kinds.
pub struct Mail {
    rng: Rng,
    count: u64,
}

impl Mail {
    pub fn new(seed: u64) -> Mail {
        Mail {
            rng: Rng::new(seed),
            count: 0,
        }
    }

    /// Mostly 1-20 kB; each 25th some 100-300 kB; each 250th 2-5 MB.
    pub fn any(&mut self) -> Vec<u8> {
        let size = match self.count {
            n if n % 250 == 249 => self.rng.within(2 << 20, 5 << 20),
            n if n % 25 == 24 => self.rng.within(100 << 10, 300 << 10),
            _ => {
                let octave = self.rng.within(0, 4);
                self.rng.within(1024 << octave, (1024 << octave) * 5 / 4)
            }
        };
        self.sized(size as usize)
    }

    /// A message of about 1-2 kB.
    pub fn small(&mut self) -> Vec<u8> {
        let size = self.rng.within(1024, 2048);
        self.sized(size as usize)
    }

    /// A message of `size` octets or a line more; the kind goes round: plain, UTF-8, attachment.
    pub fn sized(&mut self, size: usize) -> Vec<u8> {
        self.count += 1;
        let number = self.count;
        let mut text = format!(
            "From: Anne <anne@example.com>\r\nTo: Bob <bob@example.com>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
             Message-ID: <{number}.{:016x}@example.com>\r\nSubject: Number {number} {}\r\nMIME-Version: 1.0\r\n",
            self.rng.next(),
            ["of many", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "with an attachment"][number as usize % 3]
        )
        .into_bytes();
        match number % 3 {
            0 => self.plain(&mut text, size),
            1 => self.utf8(&mut text, size),
            _ => self.attachment(&mut text, size),
        }
        text
    }

    fn plain(&mut self, text: &mut Vec<u8>, size: usize) {
        text.extend_from_slice(b"Content-Type: text/plain; charset=us-ascii\r\n\r\n");
        self.words(
            text,
            size,
            &[
                "backup", "lorem", "ipsum", "the", "quick", "brown", "fox", "needle",
            ],
        );
    }

    fn utf8(&mut self, text: &mut Vec<u8>, size: usize) {
        text.extend_from_slice(
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        );
        self.words(
            text,
            size,
            &[
                "Gr\u{fc}\u{df}e",
                "na\u{ef}ve",
                "\u{65e5}\u{672c}",
                "\u{1f4e7}",
                "caf\u{e9}",
            ],
        );
    }

    fn attachment(&mut self, text: &mut Vec<u8>, size: usize) {
        text.extend_from_slice(
            b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n\
              --b\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        );
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        while text.len() + 12 < size {
            for _ in 0..7 {
                let mut bits = self.rng.next();
                for _ in 0..10 {
                    text.push(ALPHABET[(bits & 63) as usize]);
                    bits >>= 6;
                }
            }
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"--b--\r\n");
    }

    fn words(&mut self, text: &mut Vec<u8>, size: usize, words: &[&str]) {
        while text.len() < size {
            for _ in 0..9 {
                text.extend_from_slice(words[self.rng.next() as usize % words.len()].as_bytes());
                text.extend_from_slice(format!("{:x} ", self.rng.next() & 0xFFF).as_bytes());
            }
            text.extend_from_slice(b"\r\n");
        }
    }
}
