//! One file over HTTP: resumed where it was cut, given up when it stalls.

use crate::cli::output::say_error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::CliError;

/// More than any file of the data sets.
const LARGEST: u64 = 256 << 20;

/// What to fetch, and how patiently.
pub(super) struct Download {
    pub address: String,
    /// Where it goes; until it is complete, `.part` is added to the name.
    pub file: PathBuf,
    /// Longest time without a byte.
    pub stall: Duration,
    /// How often it is tried in all, going on where it stopped.
    pub attempts: u32,
}

/// How a file came to be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It was before.
    Here,
    /// It was fetched, wholly or in part.
    Now,
}

/// Why an attempt ended.
enum Failure {
    /// Trying again may help.
    Cut(String),
    /// It will not.
    Final(CliError),
}

impl Download {
    /// Fetches the file unless it is there.
    ///
    /// # Errors
    /// An address that does not answer or says no, a connection cut or stalled too often, a disk
    /// that is full. What arrived is kept for the next time.
    pub fn run(&self) -> Result<Fetched, CliError> {
        if self.file.exists() {
            return Ok(Fetched::Here);
        }
        let mut reason = String::new();
        for attempt in 0..self.attempts {
            if attempt > 0 {
                say_error!("{}: {reason}; going on from there", self.address);
                std::thread::sleep(Duration::from_millis(200 << attempt));
            }
            match self.attempt() {
                Ok(()) => {
                    std::fs::rename(self.part(), &self.file)?;
                    return Ok(Fetched::Now);
                }
                Err(Failure::Cut(why)) => reason = why,
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        Err(format!(
            "{}: {reason}, {} times. Give the command again to go on from there, or try --mirror.",
            self.address, self.attempts
        )
        .into())
    }

    fn part(&self) -> PathBuf {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        self.file.with_file_name(format!("{name}.part"))
    }

    fn attempt(&self) -> Result<(), Failure> {
        let last = |e: CliError| Failure::Final(format!("{}: {e}", self.address).into());
        let path = self.part();
        let on_disk = |e: std::io::Error| Failure::Final(format!("{}: {e}", path.display()).into());
        let mut have = std::fs::metadata(&path).map_or(0, |m| m.len());
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_connect(Some(self.stall))
            .timeout_recv_response(Some(self.stall))
            .http_status_as_error(false)
            .user_agent(concat!("gtc/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut request = agent.get(&self.address);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::Io(e)) if have > 0 => return Err(Failure::Cut(e.to_string())),
            Err(ureq::Error::Timeout(_)) => {
                return Err(Failure::Cut(format!("no answer for {:?}", self.stall)));
            }
            Err(error) => return Err(last(error.to_string().into())),
        };
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        match response.status().as_u16() {
            // The server sends everything, whatever was asked for.
            200 => have = 0,
            206 => {
                let start = header("content-range").and_then(range_start);
                if start != Some(have) {
                    std::fs::remove_file(&path).map_err(on_disk)?;
                    return Err(Failure::Cut("the server sent another part".to_owned()));
                }
            }
            // The part is as long as the file, or longer: it did not come from this file.
            416 => {
                std::fs::remove_file(&path).map_err(on_disk)?;
                return Err(Failure::Cut("the part does not fit".to_owned()));
            }
            code => return Err(last(format!("the server answers {}", status(code)).into())),
        }
        let rest: Option<u64> = header("content-length").and_then(|text| text.parse().ok());
        let total = rest.map(|rest| have + rest);
        if total.is_some_and(|total| total > LARGEST) {
            return Err(last("larger than any file of this data set".into()));
        }
        let file = match have {
            0 => File::create(&path),
            _ => OpenOptions::new().append(true).open(&path),
        };
        let body = response.into_body().into_reader();
        let got = self.receive(body, file.map_err(on_disk)?, have, total)?;
        match total {
            Some(total) if got < total => Err(Failure::Cut(format!(
                "the connection ended after {got} of {total} bytes"
            ))),
            _ => Ok(()),
        }
    }

    /// Writes the body to the file and returns how many bytes the file has then.
    fn receive(
        &self,
        mut body: impl Read + Send + 'static,
        mut file: File,
        have: u64,
        total: Option<u64>,
    ) -> Result<u64, Failure> {
        let style = ProgressStyle::with_template(
            "{msg} {bar:24} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        );
        let bar = ProgressBar::new(total.unwrap_or(0)).with_elapsed(Duration::ZERO);
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        bar.set_message(name.into_owned());
        bar.set_position(have);
        bar.reset_eta();
        // A blocking read cannot be given up, so it happens on a thread of its own.
        let (send, receive) = sync_channel::<std::io::Result<Vec<u8>>>(4);
        std::thread::spawn(move || {
            loop {
                let mut piece = vec![0; 1 << 16];
                let read = body.read(&mut piece);
                let ended = !matches!(read, Ok(1..));
                let sent = send.send(read.map(|length| {
                    piece.truncate(length);
                    piece
                }));
                if ended || sent.is_err() {
                    return;
                }
            }
        });
        let mut got = have;
        let outcome = loop {
            match receive.recv_timeout(self.stall) {
                Ok(Ok(piece)) if piece.is_empty() => break Ok(got),
                Ok(Ok(piece)) => {
                    got += piece.len() as u64;
                    if got > LARGEST {
                        let text = format!("{}: larger than any file of this set", self.address);
                        break Err(Failure::Final(text.into()));
                    }
                    if let Err(e) = file.write_all(&piece) {
                        let path = self.part();
                        let text = format!("{}: {e}", path.display());
                        break Err(Failure::Final(text.into()));
                    }
                    bar.set_position(got);
                }
                Ok(Err(e)) => break Err(Failure::Cut(format!("cut after {got} bytes ({e})"))),
                Err(RecvTimeoutError::Timeout) => {
                    let waited = self.stall;
                    break Err(Failure::Cut(format!(
                        "no byte for {waited:?} after {got} bytes"
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => break Ok(got),
            }
        };
        bar.finish_and_clear();
        outcome
    }
}

/// Where a `Content-Range: bytes 5-9/10` begins.
fn range_start(text: &str) -> Option<u64> {
    let range = text.trim().strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

fn status(code: u16) -> String {
    match ureq::http::StatusCode::from_u16(code).map(|c| c.canonical_reason()) {
        Ok(Some(reason)) => format!("{code} {reason}"),
        _ => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What the server does with one request.
    #[derive(Clone, Copy, Debug)]
    enum Manner {
        /// All that was asked for.
        Whole,
        /// Promises the rest and closes after so many bytes of it.
        Truncate(usize),
        /// Sends so many bytes and then nothing, with the connection open.
        Stall(usize),
        /// Sends everything although a part was asked for.
        IgnoreRange,
        /// Sends a part that begins elsewhere.
        OtherPart,
        /// Refuses the range.
        Unsatisfiable,
        /// Says no.
        NotFound,
        /// Promises more than any data set has.
        Huge,
        /// Closes without a word.
        Silent,
    }

    struct Server {
        address: String,
        /// The `Range` header of each request, or nothing.
        asked: Arc<Mutex<Vec<String>>>,
    }

    /// Serves `content`, each request in the manner whose turn it is; the last stays.
    fn serve(content: Vec<u8>, manners: &'static [Manner]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, turn) = (asked.clone(), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut range = String::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let line = line.unwrap_or_default();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
                        range = value.to_owned();
                    }
                }
                let i = turn.fetch_add(1, Ordering::SeqCst).min(manners.len() - 1);
                let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
                log.lock().unwrap().push(range);
                let (from, sent) = match manners[i] {
                    Manner::Truncate(n) | Manner::Stall(n) => (start, n),
                    Manner::IgnoreRange => (0, content.len()),
                    _ => (start, content.len()),
                };
                let head = match manners[i] {
                    Manner::Silent => continue,
                    Manner::NotFound => {
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n".to_owned()
                    }
                    Manner::Unsatisfiable => {
                        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n".to_owned()
                    }
                    Manner::Huge => "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n".to_owned(),
                    manner if from > 0 => {
                        let shown = from + usize::from(matches!(manner, Manner::OtherPart));
                        format!(
                            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {shown}-{}/{}\r\n",
                            content.len() - from,
                            content.len() - 1,
                            content.len()
                        )
                    }
                    _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", content.len()),
                };
                let _ = write!(stream, "{head}Connection: close\r\n\r\n");
                let rest = &content[from..];
                let _ = stream.write_all(&rest[..sent.min(rest.len())]);
                if matches!(manners[i], Manner::Stall(_)) {
                    std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_secs(20));
                        drop(stream);
                    });
                }
            }
        });
        Server { address, asked }
    }

    struct Outcome {
        result: Result<Fetched, String>,
        bytes: Option<Vec<u8>>,
        part: Option<u64>,
        asked: Vec<String>,
    }

    fn content() -> Vec<u8> {
        (0..300_000_u32)
            .map(|i| (i.wrapping_mul(i) / 7) as u8)
            .collect()
    }

    fn fetch(part: &[u8], manners: &'static [Manner]) -> Outcome {
        let server = serve(content(), manners);
        let folder = tempfile::tempdir().unwrap();
        let download = Download {
            address: server.address,
            file: folder.path().join("file"),
            stall: Duration::from_millis(300),
            attempts: 3,
        };
        if !part.is_empty() {
            std::fs::write(download.part(), part).unwrap();
        }
        let result = download.run().map_err(|e| e.to_string());
        Outcome {
            result,
            bytes: std::fs::read(&download.file).ok(),
            part: std::fs::metadata(download.part()).ok().map(|m| m.len()),
            asked: server.asked.lock().unwrap().clone(),
        }
    }

    fn assert_whole(outcome: &Outcome) {
        assert_eq!(outcome.result, Ok(Fetched::Now), "{:?}", outcome.asked);
        assert!(outcome.bytes.as_deref() == Some(&content()[..]));
        assert_eq!(outcome.part, None);
    }

    #[test]
    fn a_file_arrives_whole() {
        assert_whole(&fetch(b"", &[Manner::Whole]));
    }

    #[test]
    fn a_cut_or_stalled_download_goes_on_where_it_stopped() {
        let outcome = fetch(
            b"",
            &[Manner::Truncate(1000), Manner::Stall(500), Manner::Whole],
        );
        assert_whole(&outcome);
        assert_eq!(outcome.asked, ["", "1000-", "1500-"]);
        let outcome = fetch(&content()[..70_000], &[Manner::Whole]);
        assert_whole(&outcome);
        assert_eq!(outcome.asked, ["70000-"]);
    }

    #[test]
    fn servers_that_answer_another_range_do_not_spoil_the_file() {
        assert_whole(&fetch(&content()[..9], &[Manner::IgnoreRange]));
        assert_whole(&fetch(&content()[..9], &[Manner::OtherPart, Manner::Whole]));
        assert_whole(&fetch(&content(), &[Manner::Unsatisfiable, Manner::Whole]));
    }

    #[test]
    fn what_arrived_is_kept_when_it_is_given_up() {
        let outcome = fetch(b"", &[Manner::Truncate(100)]);
        let error = outcome.result.unwrap_err();
        assert!(error.contains("again"), "{error}");
        assert_eq!((outcome.bytes, outcome.part), (None, Some(300)));
        let outcome = fetch(b"", &[Manner::Stall(5)]);
        let error = outcome.result.unwrap_err();
        assert!(error.contains("no byte for 300ms"), "{error}");
        assert_eq!(outcome.part, Some(15));
    }

    #[test]
    fn refusals_and_absurd_sizes_are_final() {
        let error = fetch(b"", &[Manner::NotFound]).result.unwrap_err();
        assert!(error.contains("404 Not Found"), "{error}");
        let outcome = fetch(b"", &[Manner::Huge]);
        assert!(outcome.result.unwrap_err().contains("larger"));
        assert_eq!(outcome.asked.len(), 1);
        assert!(fetch(b"", &[Manner::Silent]).result.is_err());
    }
}
