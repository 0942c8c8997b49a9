//! Values that a function could answer with without having done anything.

use syn::{GenericArgument, PathArguments, Type};

/// Expressions of a type, most telling first; none for types that can't be guessed.
pub fn values(of: &Type) -> Vec<String> {
    match of {
        Type::Never(_) | Type::ImplTrait(_) => Vec::new(),
        Type::Paren(inner) => values(&inner.elem),
        Type::Group(inner) => values(&inner.elem),
        Type::Tuple(tuple) if tuple.elems.is_empty() => vec!["()".into()],
        Type::Tuple(tuple) => {
            let each: Vec<_> = tuple.elems.iter().map(values).collect();
            // One value moves at a time, the others stay at their first.
            let first: Option<Vec<_>> = each.iter().map(|v| v.first().cloned()).collect();
            let Some(first) = first else { return Vec::new() };
            let mut all = vec![first.clone()];
            for (at, options) in each.iter().enumerate() {
                all.extend(options.iter().skip(1).map(|option| {
                    let mut changed = first.clone();
                    changed[at].clone_from(option);
                    changed
                }));
            }
            all.into_iter().map(|parts| format!("({})", parts.join(", "))).collect()
        }
        Type::Reference(reference) if reference.mutability.is_some() => Vec::new(),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => vec!["\"\"".into(), "\"xyzzy\"".into()],
            Type::Slice(_) => vec!["&[]".into()],
            Type::Path(_) => vec!["Box::leak(Box::new(Default::default()))".into()],
            _ => Vec::new(),
        },
        Type::Path(path) => path.path.segments.last().map(named).unwrap_or_default(),
        _ => vec!["Default::default()".into()],
    }
}

fn named(name: &syn::PathSegment) -> Vec<String> {
    let parts: Vec<&Type> = match &name.arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(of) => Some(of),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let inner = || parts.first().map_or_else(|| vec!["Default::default()".into()], |of| values(of));
    let each = |form: &str| inner().into_iter().map(|v| form.replace('_', &v)).collect::<Vec<_>>();
    let fixed = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    match name.ident.to_string().as_str() {
        "bool" => fixed(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => fixed(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => fixed(&["0", "1", "-1"]),
        "f32" | "f64" => fixed(&["0.0", "1.0"]),
        "String" => fixed(&["String::new()", "\"xyzzy\".into()"]),
        "Option" => fixed(&["None"]).into_iter().chain(each("Some(_)")).collect(),
        "Result" => each("Ok(_)"),
        "Vec" => fixed(&["vec![]"]).into_iter().chain(each("vec![_]")).collect(),
        "Box" | "Arc" | "Rc" => {
            let form = format!("{}::new(_)", name.ident);
            each(&form)
        }
        _ => fixed(&["Default::default()"]),
    }
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn each_type_has_the_values_that_are_easiest_to_answer_with() {
        for (of, wanted) in [
            ("bool", vec!["true", "false"]),
            ("Option<u8>", vec!["None", "Some(0)", "Some(1)"]),
            ("io::Result<()>", vec!["Ok(())"]),
            ("fmt::Result", vec!["Ok(Default::default())"]),
            ("Vec<Name>", vec!["vec![]", "vec![Default::default()]"]),
            ("(bool, u8)", vec!["(true, 0)", "(false, 0)", "(true, 1)"]),
            ("&'a str", vec!["\"\"", "\"xyzzy\""]),
            ("&mut u8", vec![]),
            ("!", vec![]),
            ("impl Fn()", vec![]),
        ] {
            assert_eq!(values(&syn::parse_str(of).unwrap()), wanted, "{of}");
        }
    }
}
