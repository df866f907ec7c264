//! Serves a folder of static files on this machine alone: `serve FOLDER [PORT]`.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Browsers refuse modules and WebAssembly of another type.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()).unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The file that a request's target names, never outside the folder.
fn find(folder: &Path, target: &str) -> Option<PathBuf> {
    let target = target.split(['?', '#']).next().unwrap_or("");
    let inside = Path::new(target.trim_start_matches('/'));
    let plain = inside
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    let path = match target.ends_with('/') {
        true => folder.join(inside).join("index.html"),
        false => folder.join(inside),
    };
    (plain && path.is_file()).then_some(path)
}

fn answer(folder: &Path, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or(""));
    let found =
        find(folder, target).and_then(|path| Some((std::fs::read(&path).ok()?, kind(&path))));
    let (status, (body, kind)) = match (method, found) {
        (Some("GET" | "HEAD"), Some(found)) => ("200 OK", found),
        (Some("GET" | "HEAD"), None) => ("404 Not Found", (b"not here\n".to_vec(), "text/plain")),
        _ => (
            "405 Method Not Allowed",
            (b"GET only\n".to_vec(), "text/plain"),
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method == Some("GET") {
        stream.write_all(&body)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, port) = match &arguments[..] {
        [folder] => (folder, Some(8080)),
        [folder, port] => (folder, port.parse().ok()),
        _ => {
            eprintln!("usage: serve FOLDER [PORT]");
            return ExitCode::from(2);
        }
    };
    let folder = PathBuf::from(folder);
    let Some(port) = port else {
        eprintln!("serve: a port is a number from 0 to 65535");
        return ExitCode::from(2);
    };
    if !folder.join("index.html").is_file() {
        eprintln!(
            "serve: {}: no index.html is here; `make web` makes it",
            folder.display()
        );
        return ExitCode::from(2);
    }
    let opened = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listener = match opened {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("serve: {error}");
            return ExitCode::from(1);
        }
    };
    if let Ok(address) = listener.local_addr() {
        println!("http://localhost:{}/", address.port());
    }
    for stream in listener.incoming().flatten() {
        let folder = folder.clone();
        // A browser that closes early is no event.
        std::thread::spawn(move || answer(&folder, stream).ok());
    }
    ExitCode::SUCCESS
}
