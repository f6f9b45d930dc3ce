//! The shapes are whole: numbers and names are each used once, and walks over them end.

use std::collections::BTreeSet;

use super::*;
use crate::api::endpoint::BodyKind;

fn each_message(shape: &'static Object, see: &mut dyn FnMut(&'static Object)) {
    see(shape);
    for field in shape {
        let mut kind = field.kind;
        while let Kind::List(of) | Kind::Map(of) = kind {
            kind = *of;
        }
        if let Kind::Object(shape) | Kind::Encoded(shape) = kind {
            each_message(shape, see);
        }
    }
}

#[test]
fn every_field_has_a_number_and_a_name_of_its_own() {
    for row in METHODS {
        let BodyKind::Message(shape) = row.body else { continue };
        each_message(shape, &mut |shape| {
            let numbers: BTreeSet<u32> = shape.iter().map(|field| field.number).collect();
            let names: BTreeSet<&str> = shape.iter().map(|field| field.name).collect();
            assert_eq!((numbers.len(), names.len()), (shape.len(), shape.len()), "{}", row.path);
            assert!(!numbers.contains(&0), "{}", row.path);
        });
    }
}

#[test]
fn every_method_is_found_by_its_path_and_by_no_other() {
    for row in METHODS {
        assert_eq!(find(row.path).map(|found| found.endpoint), Some(row.endpoint));
        assert!(find(&row.path.to_ascii_lowercase()).is_none(), "{}", row.path);
        assert!(
            find(&format!("{}/", row.path)).is_none()
                && find(row.path.trim_start_matches('/')).is_none()
        );
    }
    let paths: BTreeSet<&str> = METHODS.iter().map(|row| row.path).collect();
    assert_eq!(paths.len(), METHODS.len());
}
