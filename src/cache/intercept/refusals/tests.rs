//! What is remembered of clients, in memory and in the file.

use super::*;

fn which(number: usize) -> Fingerprint {
    format!("{number:032x}").parse().unwrap()
}

fn memory(file: Option<&Path>) -> Arc<Refusals> {
    Arc::new(Refusals::open(file.map(Path::to_owned)))
}

/// Returns when all is in the file.
async fn settle(refusals: &Refusals) {
    while !refusals.is_written() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_learned_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refusals");
    let refusals = memory(Some(&path));
    for number in 0..3 {
        assert!(refusals.remember("sha256:a", which(number), true));
        assert!(!refusals.remember("sha256:a", which(number), true), "it is known");
    }
    settle(&refusals).await;
    let again = memory(Some(&path));
    assert!((0..3).all(|number| again.knows("sha256:a", which(number))));
    assert!(!again.knows("sha256:b", which(0)) && !again.knows("sha256:a", which(3)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
}

#[tokio::test]
async fn an_image_has_its_share_and_the_oldest_go() {
    let refusals = memory(None);
    refusals.remember("other", which(0), true);
    for number in 0..=MOST_OF_IMAGE {
        assert!(refusals.remember("image", which(number), true));
    }
    assert!(!refusals.knows("image", which(0)) && refusals.knows("image", which(1)));
    assert!(refusals.knows("other", which(0)), "nobody pushes others' out");
    for number in 0..MOST {
        refusals.remember(&format!("image-{number}"), which(0), true);
    }
    assert!(!refusals.knows("other", which(0)));
    assert_eq!(refusals.lock().all.len(), MOST);
    assert_eq!(refusals.lock().order.len(), MOST);
}

#[tokio::test]
async fn who_has_spoken_is_not_taken_for_one_that_refuses_when_it_leaves() {
    let refusals = memory(None);
    refusals.is_content("image", which(1));
    assert!(!refusals.remember("image", which(1), false) && !refusals.knows("image", which(1)));
    assert!(refusals.remember("image", which(2), false) && refusals.knows("image", which(2)));
    assert!(refusals.remember("image", which(1), true), "it says so");
    assert!(!refusals.remember("an image", which(3), true), "no name of an image");
}

#[tokio::test]
async fn a_file_that_is_damaged_or_has_no_place_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refusals");
    let good = format!("{FORM}\n{} {} image\n", which(1), today());
    let too_long = format!("{FORM}\n{}", "x".repeat(LARGEST_FILE as usize));
    let cut = good.trim_end().to_owned();
    let bad = [String::new(), "\n".to_owned(), format!("{FORM}\nx image\n"), too_long, cut];
    for bad in bad {
        fs::write(&path, &bad).unwrap();
        assert!(!memory(Some(&path)).knows("image", which(1)));
    }
    fs::write(&path, [0xff, b'\n']).unwrap();
    assert!(!memory(Some(&path)).knows("image", which(1)));
    fs::write(&path, &good).unwrap();
    assert!(memory(Some(&path)).knows("image", which(1)));
    let nowhere = memory(Some(&path.join("below a file")));
    assert!(nowhere.remember("image", which(1), true));
    settle(&nowhere).await;
    assert!(nowhere.knows("image", which(1)));
}

#[test]
fn a_refusal_is_forgotten_after_a_month_and_a_file_without_dates_is_of_today() {
    let mut known = KnownRefusals::default();
    assert!(known.add("image", which(1), 100));
    assert!(known.knows("image", which(1), 100) && known.knows("image", which(1), 99 + LASTS));
    assert!(!known.knows("image", which(1), 100 + LASTS));
    assert!(known.add("image", which(1), 100 + LASTS), "it is said again");
    assert_eq!(known.order.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refusals");
    fs::write(&path, format!("{OLD_FORM}\n{} image\n", which(1))).unwrap();
    assert!(memory(Some(&path)).knows("image", which(1)));
    fs::write(&path, format!("{FORM}\n{} {} image\n", which(1), today() - LASTS)).unwrap();
    assert!(!memory(Some(&path)).knows("image", which(1)));
}
