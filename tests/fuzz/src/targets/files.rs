//! A host's files out of one input.

use std::collections::BTreeMap;

/// Begins a line that names the file whose text follows.
pub const HEAD: &str = "== ";
/// Files of one host.
const FILES_MAX: usize = 16;

/// Absolute paths and their texts; what stands before the first head is the text of `first`.
pub fn split(input: &[u8], first: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(input);
    let mut files = BTreeMap::new();
    let mut path = first.to_owned();
    let mut whole = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix(HEAD) {
            Some(head) if files.len() < FILES_MAX => {
                files.insert(std::mem::replace(&mut path, sound(head)), std::mem::take(&mut whole));
            }
            _ => whole.push_str(line),
        }
    }
    files.insert(path, whole);
    files
}

/// As a path in a directory could be: no step is empty, or leads up or nowhere.
fn sound(head: &str) -> String {
    let steps = head.trim_end_matches('\n').split('/').filter(|step| !matches!(*step, "" | "." | ".."));
    steps.flat_map(|step| ["/", step]).collect::<String>().replace('\0', "")
}
