//! Values that name the caller: `/ci/{user}`.
//!
//! `config::check` reads them, `policy::limits` fills them in. What must stay true: a value that is
//! missing is never filled with nothing, and one that goes into a path or a name stays one part of it.

/// Text with places for what is known of a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    Text(String),
    User,
    Listener,
    /// A claim of the caller's token, by its name.
    Claim(String),
}

impl Template {
    /// `{user}`, `{listener}` and `{claims.NAME}`; `{{` and `}}` are braces.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at_checked(at).unwrap_or((rest, ""));
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inside = brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
                let (name, after) = inside.ok_or_else(|| format!("a lone brace in `{text}`"))?;
                if !plain.is_empty() {
                    pieces.push(TemplatePart::Text(std::mem::take(&mut plain)));
                }
                pieces.push(named(name)?);
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(TemplatePart::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The same for everybody.
    pub fn fixed(text: &str) -> Template {
        Template(vec![TemplatePart::Text(text.to_owned())])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn pieces(&self) -> &[TemplatePart] {
        &self.0
    }
}

fn named(name: &str) -> Result<TemplatePart, String> {
    match name {
        "user" => Ok(TemplatePart::User),
        "listener" => Ok(TemplatePart::Listener),
        _ => match name.strip_prefix("claims.") {
            Some(claim) if !claim.is_empty() => Ok(TemplatePart::Claim(claim.to_owned())),
            _ => Err(format!("`{{{name}}}` stands for nothing")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_template_is_text_and_what_is_known_of_the_caller() {
        let text = |text: &str| TemplatePart::Text(text.to_owned());
        let claim = TemplatePart::Claim("project_path".to_owned());
        let parsed = Template::parse("/ci/{user}-{listener}{claims.project_path}{{x}}").unwrap();
        let wanted = [
            text("/ci/"),
            TemplatePart::User,
            text("-"),
            TemplatePart::Listener,
            claim,
            text("{x}"),
        ];
        assert_eq!(parsed.pieces(), wanted);
        for wrong in ["{", "}", "{frob}", "{claims.}", "{user", "a}b"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}a-z.]{0,20}") {
            let _ = Template::parse(&text);
        }
    }
}
