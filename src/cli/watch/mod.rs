//! `wgconv watch`: a run's report in the browser, while the run goes on.

use std::fs;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clap::Args;
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};
use wgconv::report::run::PAGE;
use wgconv::train::RunFolder;
use wgconv::{Error, Result};

use super::Outcome;
use super::options::OutputOptions;

/// The page that shows the report, and shows it anew when it changes.
const FRAME: &str = include_str!("page.html");

/// Serve a run's report to a browser on this machine; it refreshes by itself as epochs end
#[derive(Args)]
pub struct Watch {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8317)]
    port: u16,
    /// The address to listen on; others than this machine's own show the report to the network
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    #[command(flatten)]
    output: OutputOptions,
}

impl Watch {
    pub fn run(self) -> Result<Outcome> {
        let (run, ..) = RunFolder::open(&self.run)?;
        let address = SocketAddr::new(self.address, self.port);
        let failed = |cause: String| Error::Device {
            device: address.to_string(),
            operation: "listening there".into(),
            cause: format!("{cause}; --port names another port"),
        };
        let server = Server::http(address).map_err(|error| failed(error.to_string()))?;
        let address = server.server_addr().to_ip().unwrap_or(address);
        self.output.say(format_args!("http://{address}/ shows {}; Ctrl-C ends", run.path().display()))?;
        self.output.json(&json!({ "url": format!("http://{address}/") }))?;
        for request in server.incoming_requests() {
            // A browser that has gone needs no answer.
            _ = match answer(&request, run.path(), self.address) {
                Ok(response) => request.respond(response),
                Err(status) => {
                    request.respond(Response::from_string(reason(status)).with_status_code(status))
                }
            };
        }
        Ok(Outcome::Done)
    }
}

/// The answer to a request: a few names, each for one thing, so that no path leads out of the run's folder.
fn answer(request: &Request, run: &Path, address: IpAddr) -> Result<Response<Cursor<Vec<u8>>>, StatusCode> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Err(StatusCode(405));
    }
    if address.is_loopback() && !names_this_machine(request) {
        return Err(StatusCode(403));
    }
    let path = request.url().split(['?', '#']).next().unwrap_or_default();
    let (content, kind) = match path {
        "/" => (FRAME.into(), "text/html; charset=utf-8"),
        "/report.html" => (page(run)?, "text/html; charset=utf-8"),
        "/version" => (version(run)?.into_bytes(), "text/plain; charset=utf-8"),
        _ => return Err(StatusCode(404)),
    };
    let header = |name: &str, value: &str| Header::from_bytes(name, value).expect("plain text");
    let headers = [
        header("Content-Type", kind),
        header("Cache-Control", "no-store"),
        header("X-Content-Type-Options", "nosniff"),
        header("Referrer-Policy", "no-referrer"),
    ];
    Ok(headers.into_iter().fold(Response::from_data(content), Response::with_header))
}

/// Whether a request is made to this machine by its own name: a page from elsewhere whose name leads here is not shown the
/// report.
fn names_this_machine(request: &Request) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    let Some(host) = host.map(|header| header.value.as_str()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The report's file, if it is a file in the run's folder and not a link to elsewhere.
fn report(run: &Path) -> Result<(PathBuf, fs::Metadata), StatusCode> {
    let path = run.join(PAGE);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok((path, metadata)),
        _ => Err(StatusCode(404)),
    }
}

fn page(run: &Path) -> Result<Vec<u8>, StatusCode> {
    let (path, _) = report(run)?;
    fs::read(path).map_err(|_| StatusCode(404))
}

/// A text that changes with the report.
fn version(run: &Path) -> Result<String, StatusCode> {
    let (_, metadata) = report(run)?;
    let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{}-{}", written.unwrap_or_default().as_nanos(), metadata.len()))
}

fn reason(status: StatusCode) -> String {
    let reason = match status.0 {
        403 => "this report is shown on this machine alone",
        405 => "this report can only be read",
        _ => "there is no such page: / shows the report",
    };
    format!("{reason}\n")
}
