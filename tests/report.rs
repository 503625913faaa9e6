//! The page of a run's report: it holds whatever a story holds, it keeps to its size, and in a browser it does what it says,
//! without a request to anywhere.

#[path = "common/browser.rs"]
mod browser;
#[path = "common/story.rs"]
mod story;

use browser::Browser;
use story::{ODD_NAMES, broken, lenet, odd, resnet, story as told};
use wgconv::report::run::Story;
use wgconv::report::run::page::{page, pictures};

#[test]
fn a_page_keeps_to_its_size() {
    for (name, sizes, most) in [("lenet", lenet(), 5_000_000), ("resnet", resnet(), 15_000_000)] {
        let story = told(&sizes);
        let start = std::time::Instant::now();
        let page = page(&story);
        println!("{name}: {} bytes in {:.2?}", page.len(), start.elapsed());
        Browser::keep(name, &page);
        assert!(page.len() < most, "{name}: {} bytes", page.len());
    }
}

#[test]
fn a_page_reaches_for_nothing_outside() {
    let page = page(&told(&lenet()));
    for reach in
        ["http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "eval(", "innerHTML", " style=\""]
    {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(reach), "{reach}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn an_empty_story_says_so() {
    let page = page(&Story::default());
    for words in ["There are no curves yet", "There is no film", "There are no maps", "There are no answers"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(pictures(&Story::default()).len(), 0);
}

#[test]
fn names_stay_text_and_nothing_broken_stops_a_page() {
    let page_of_odd = page(&odd());
    for name in ODD_NAMES.iter().filter(|name| name.contains('<')) {
        assert!(!page_of_odd.contains(name), "{name}");
    }
    // Two scripts: the data, and what runs.
    assert_eq!(page_of_odd.matches("</script>").count(), 2);
    assert!(page_of_odd.len() < 3_000_000);
    assert_eq!(pictures(&odd()).len(), 3);
    assert!(page(&broken()).len() > 10_000);
    pictures(&broken());
}

#[test]
fn of_many_classes_the_confusions_are_listed() {
    let mut sizes = lenet();
    sizes.classes = 100;
    let story = told(&sizes);
    let page = page(&story);
    assert!(page.contains("too many for a matrix") && !page.contains("id=\"matrix\""));
    Browser::keep("hundred", &page);
    assert!(!pictures(&story).iter().any(|(name, _)| *name == "confusion.png"));
}

#[test]
fn pictures_are_whole_files() {
    for (name, file) in pictures(&told(&lenet())) {
        let picture = image::load_from_memory(&file).unwrap();
        assert!(picture.width() > 300 && picture.height() > 200 && file.len() < 400_000, "{name}");
        Browser::keep_file(name, &file);
    }
    let names: Vec<_> = pictures(&told(&resnet())).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["curves.png", "filters.png", "confusion.png"]);
}

/// Runs a script in the page, and gives back what it says.
fn browsed(test: &str, story: &Story, script: &str) -> Option<String> {
    let browser = Browser::found(test)?;
    let seen = browser.run(test, &page(story), script);
    assert!(seen.complaints.is_empty(), "{test}: {}", seen.complaints.join("\n"));
    Some(seen.said)
}

#[test]
fn a_browser_shows_everything_and_complains_of_nothing() {
    let script = include_str!("common/report.js");
    let Some(said) = browsed("lenet", &told(&lenet()), script) else { return };
    assert_eq!(said, "all is well", "{said}");
}

#[test]
fn a_browser_runs_nothing_that_a_name_says() {
    let script = "
        await settled();
        check('title', !document.title.startsWith('broken'));
        check('no element of a name', document.querySelectorAll('img[src=\"x\"]').length === 0);
        check('two scripts and this', document.scripts.length === 3);
        document.querySelector('[data-cell]').click();
        check('dialog', byId('gallery').open);
    ";
    let Some(said) = browsed("odd", &odd(), script) else { return };
    assert_eq!(said, "all is well", "{said}");
}

#[test]
fn a_browser_opens_empty_and_broken_pages() {
    for (name, story) in [("empty", Story::default()), ("broken", broken())] {
        let Some(said) = browsed(name, &story, "await settled();") else { return };
        assert_eq!(said, "all is well", "{name}: {said}");
    }
}

#[test]
fn a_browser_would_complain_of_what_does_not_belong() {
    let Some(browser) = Browser::found("foreign") else { return };
    let foreign = "<script>document.title = 'broken'</script><img src=\"http://127.0.0.1:9/x\" alt=\"\">";
    let page = page(&Story::default()).replacen("<main>", &format!("{foreign}<main>"), 1);
    let seen = browser.run("foreign", &page, "check('title', document.title !== 'broken');");
    assert!(seen.complaints.len() >= 2, "{:?}", seen.complaints);
    // A page without a policy, whose picture is asked for.
    let open = "<!DOCTYPE html><title>x</title><body><img src=\"http://127.0.0.1:9/x\" alt=\"\"></body>";
    let seen = browser.run("open", open, "await settled();");
    assert!(seen.said.contains("no request: http://127.0.0.1:9/x"), "{}", seen.said);
}
