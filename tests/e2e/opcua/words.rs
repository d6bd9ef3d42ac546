//! Texts in the language of the session, and the CSV file for an import, by asyncua.

crate::tests! {
    Tools: words_for_people;
}

fn words_for_people() {
    super::check("words.py", &[]);
}
