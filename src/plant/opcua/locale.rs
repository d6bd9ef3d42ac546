//! Locales of a session (OPC 10000-4, 5.7.3; OPC 10000-3, 8.4): which of several translations its client is answered with.

/// What a client understands, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locales(pub Vec<String>);

impl Locales {
    /// Of a client that did not say: "the Server shall use any that it has" (OPC 10000-4, 5.7.3.2).
    pub const NONE: &'static Locales = &Locales(Vec::new());

    /// The translation "with the highest priority": the locale itself, then its language alone, then the same language of
    /// another country, and so for each locale in turn. `None`: in nothing that the client understands.
    pub fn best<'a, T>(&self, translations: &'a [(String, T)]) -> Option<&'a (String, T)> {
        if translations.is_empty() {
            return None;
        }
        let find = |matches: &dyn Fn(&str) -> bool| translations.iter().find(|(locale, _)| matches(locale));
        self.0.iter().filter(|wanted| !wanted.is_empty()).find_map(|wanted| {
            let language = language(wanted);
            find(&|locale| locale.eq_ignore_ascii_case(wanted))
                .or_else(|| find(&|locale| locale.eq_ignore_ascii_case(language)))
                .or_else(|| find(&|locale| self::language(locale).eq_ignore_ascii_case(language)))
        })
    }

    /// Locale and text: the best translation, else the text without a locale, else whatever there is.
    pub fn text<'a>(
        &self,
        default: Option<&'a str>,
        translations: &'a [(String, String)],
    ) -> Option<(&'a str, &'a str)> {
        fn both((locale, text): &(String, String)) -> (&str, &str) {
            (locale, text)
        }
        let found = self.best(translations).map(both).or(default.map(|text| ("", text)));
        found.or_else(|| translations.first().map(both))
    }
}

/// The first part of a locale (BCP 47).
fn language(locale: &str) -> &str {
    locale.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[&str], default: Option<&str>, there: &[&str], want: Option<(&str, &str)>) {
        let locales = Locales(wanted.iter().map(|locale| (*locale).to_owned()).collect());
        let there: Vec<(String, String)> =
            there.iter().map(|locale| ((*locale).to_owned(), format!("in {locale}"))).collect();
        assert_eq!(locales.text(default, &there), want, "{wanted:?} of {there:?}");
    }

    #[test]
    fn the_best_translation_answers() {
        let all = ["de", "de-CH", "fr-CA", "pt-BR"];
        let default = Some("Oven");
        for (wanted, want) in [
            (&["de"][..], ("de", "in de")),
            (&["de-CH"], ("de-CH", "in de-CH")),
            (&["DE-ch"], ("de-CH", "in de-CH")),
            // the language alone is nearer than another country
            (&["de-AT"], ("de", "in de")),
            (&["fr"], ("fr-CA", "in fr-CA")),
            (&["pt-PT"], ("pt-BR", "in pt-BR")),
            // the first that there is, however little of it matches
            (&["en", "de-AT", "pt-BR"], ("de", "in de")),
            (&["", "en"], ("", "Oven")),
            // a language is a whole word
            (&["d"], ("", "Oven")),
            (&[], ("", "Oven")),
        ] {
            check(wanted, default, &all, Some(want));
        }
    }

    #[test]
    fn something_is_better_than_nothing() {
        check(&["en"], None, &["de", "fr"], Some(("de", "in de")));
        check(&["en"], None, &[], None);
        check(&[], Some("Oven"), &[], Some(("", "Oven")));
    }
}
