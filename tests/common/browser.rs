//! A headless browser that opens a page and runs a script in it, as a reader would use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// What the tests' scripts may use, and where they say what they saw: in an attribute of the page.
const FRAME: &str = "
(async () => {
  const wrong = [];
  const check = (what, isSo) => { if (!isSo) wrong.push(what); };
  const later = (time) => new Promise((done) => setTimeout(done, time));
  // Until all pictures that were asked for are painted, however busy the machine is.
  const settled = async () => {
    // A page that is not a report has no such pictures.
    const asked = typeof pictures === 'undefined' ? new Map() : pictures;
    let known;
    do {
      known = asked.size;
      await Promise.all(asked.values());
      await later(150);
    } while (asked.size !== known);
  };
  window.addEventListener('error', (event) => wrong.push(`error: ${event.message}`));
  window.addEventListener('unhandledrejection', (event) => wrong.push(`rejection: ${event.reason}`));
  document.addEventListener('securitypolicyviolation', (event) => wrong.push(`policy: ${event.blockedURI} ${event.violatedDirective}`));
  try {
    SCRIPT
    const requests = performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith('data:'));
    check(`no request: ${requests.map((entry) => entry.name)}`, requests.length === 0);
  } catch (error) {
    wrong.push(`${error} ${error.stack}`);
  }
  document.documentElement.dataset.said = wrong.length ? wrong.join(' | ') : 'all is well';
})();
";

/// A browser.
pub struct Browser {
    program: &'static str,
}

/// What a page did.
pub struct Seen {
    /// What the script said.
    pub said: String,
    /// Lines of the console.
    pub complaints: Vec<String>,
}

impl Browser {
    /// The browser of this computer. Without one, prints that the test is skipped, or fails if WGCONV_REQUIRE_BROWSER=1.
    pub fn found(test: &str) -> Option<Browser> {
        let programs = ["chromium", "chromium-browser", "google-chrome"];
        let works = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        let program = programs.into_iter().find(works);
        if program.is_none() {
            let required = std::env::var("WGCONV_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
            assert!(!required, "{test}: WGCONV_REQUIRE_BROWSER=1, and there is no browser");
            eprintln!("SKIPPED {test}: there is no browser");
        }
        Some(Browser { program: program? })
    }

    /// Opens a copy of the page that also runs this script.
    pub fn run(&self, name: &str, page: &str, script: &str) -> Seen {
        let script = FRAME.replace("SCRIPT", script);
        let hash = STANDARD.encode(Sha256::digest(&script));
        let page = page.replacen("script-src ", &format!("script-src 'sha256-{hash}' "), 1).replacen(
            "</body>",
            &format!("<script>{script}</script></body>"),
            1,
        );
        let path = Self::keep(&format!("{name}-tested"), &page);
        let profile = tempfile::tempdir().unwrap();
        let log = profile.path().join("log");
        let mut browser = Command::new(self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr"])
            .args(["--no-first-run", "--disable-background-networking", "--window-size=1280,900"])
            .arg("--virtual-time-budget=60000")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", path.display()))
            .stdout(fs::File::create(profile.path().join("page")).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while browser.try_wait().unwrap().is_none() {
            if start.elapsed() > Duration::from_secs(120) {
                browser.kill().unwrap();
                browser.wait().unwrap();
                panic!("{name}: the browser is still busy after two minutes");
            }
            thread::sleep(Duration::from_millis(50));
        }
        let dumped = fs::read_to_string(profile.path().join("page")).unwrap();
        let said = dumped.split_once("data-said=\"").and_then(|(_, rest)| rest.split_once('"'));
        let complaints = String::from_utf8_lossy(&fs::read(&log).unwrap())
            .lines()
            .filter(|line| line.contains("CONSOLE") && !line.contains("willReadFrequently"))
            .map(String::from)
            .collect();
        let said = said.map_or_else(|| "the script did not end".into(), |(said, _)| said.to_string());
        Seen { said, complaints }
    }

    /// Keeps a page, for people to look at.
    pub fn keep(name: &str, page: &str) -> PathBuf {
        Self::keep_file(&format!("{name}.html"), page.as_bytes())
    }

    /// Keeps a file, for people to look at.
    pub fn keep_file(name: &str, file: &[u8]) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, file).unwrap();
        path
    }
}
