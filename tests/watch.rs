//! `wgconv watch`: serves the report of a run, and nothing else.

#[path = "common/workplace.rs"]
mod workplace;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use workplace::Workplace;

/// A server, which ends with the test.
struct Served {
    child: Child,
    host: String,
}

impl Served {
    fn start(place: &Workplace, run: &str) -> Served {
        let mut command = place.command(&format!("watch {run} --port 0"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let host = host.unwrap_or_else(|| panic!("{line}")).to_string();
        Served { child, host }
    }

    /// The status and the body of the answer to a request.
    fn ask(&self, request: &str, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_string())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), &self.host)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn run_without_report() -> Workplace {
    let place = Workplace::new();
    place.train("--model linear --epochs 1 --limit 64 --no-report --out run");
    place
}

#[test]
fn the_report_is_served_and_its_changes_are_told() {
    let place = run_without_report();
    let served = Served::start(&place, "run");
    assert!(served.get("/").1.contains("not written yet"));
    assert_eq!(served.get("/version").0, 404);
    assert_eq!(served.get("/report.html").0, 404);
    place.write("run/report.html", "<p>first");
    assert_eq!(served.get("/report.html"), (200, "<p>first".into()));
    let first = served.get("/version");
    assert_eq!(first, served.get("/version"));
    place.write("run/report.html", "<p>the second");
    assert_eq!(served.get("/report.html?7"), (200, "<p>the second".into()));
    assert_ne!(first, served.get("/version"));
}

#[test]
fn nothing_else_is_served_and_nobody_else_is() {
    let place = run_without_report();
    place.write("run/report.html", "<p>report");
    place.write("secret", "secret");
    let served = Served::start(&place, "run");
    for path in [
        "/config.toml",
        "/../secret",
        "/%2e%2e/secret",
        "//secret",
        "/report.html/../../secret",
        "/pictures/",
        "*",
    ] {
        let (status, body) = served.get(path);
        assert_eq!(status, 404, "{path}");
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(served.ask(&format!("{method} /report.html"), &served.host).0, 405);
    }
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8317", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("example.org", 403),
        ("127.0.0.1.example.org:80", 403),
        ("", 403),
    ] {
        assert_eq!(served.ask("GET /", host).0, status, "{host}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_elsewhere_is_not_followed() {
    let place = run_without_report();
    place.write("secret", "secret");
    std::os::unix::fs::symlink(place.path("secret"), place.path("run/report.html")).unwrap();
    let served = Served::start(&place, "run");
    assert_eq!(served.get("/report.html").0, 404);
    assert_eq!(served.get("/version").0, 404);
}

#[test]
fn what_cannot_be_watched_is_refused_in_a_line() {
    let place = run_without_report();
    let missing = place.run("watch nowhere");
    missing.assert_error(1, "nowhere");
    let served = Served::start(&place, "run");
    let port = served.host.rsplit(':').next().unwrap();
    let taken = place.run(&format!("watch run --port {port}"));
    taken.assert_error(1, "--port names another port");
}
