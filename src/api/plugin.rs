//! Plugins: query parameters and JSON bodies.
//!
//! `api::table` puts these into its rows. What must stay true: the body of pull and upgrade is the
//! list of privileges that the user grants; a plugin is root code.

use super::answer::{Form, Marks, id};
use super::endpoint::{Param, Resource, q};
use super::shape::{Kind, STRINGS, f};

pub const PRIVILEGES_QUERY: &[Param] = &[
    // read at every version; the specification called it `name` up to 1.26
    q("remote").names(Resource::Plugin),
    q("name").until(26).ignored(),
];

pub const PULL_QUERY: &[Param] =
    &[q("remote").names(Resource::Plugin), q("name").names(Resource::Plugin)];

pub const UPGRADE_QUERY: &[Param] = &[q("remote").names(Resource::Plugin)];

pub const CREATE_QUERY: &[Param] = &[q("name").names(Resource::Plugin)];

/// The privileges that the user grants.
pub const PRIVILEGES: Kind = Kind::List(&PRIVILEGE);

/// `KEY=VALUE` each.
pub const SETTINGS: Kind = STRINGS;

const PRIVILEGE: Kind =
    Kind::Object(&[f("Name", Kind::Str), f("Description", Kind::Str), f("Value", STRINGS)]);

/// A plugin as `GET /plugins/{name}/json` shows it. Its name is a reference, as an image's is.
pub const ANSWER: Marks = Marks::Fields(&[
    ("Id", id(Resource::Plugin)),
    ("Name", Marks::Text(Resource::Plugin, Form::Image)),
    ("PluginReference", Marks::Text(Resource::Plugin, Form::Image)),
]);

pub const LIST_ANSWER: Marks = Marks::Each(&ANSWER);
