//! A list that is made once and then only read and shared: a copy is the same list again, and an
//! empty one costs no memory of its own.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The same elements in the same order, however many hold it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct List<T>(Arc<[T]>);

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// As a `Vec` is compared.
impl<T: PartialEq> PartialEq<&[T]> for List<T> {
    fn eq(&self, other: &&[T]) -> bool {
        self[..] == **other
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(elements: Vec<T>) -> Self {
        if elements.is_empty() { Self::default() } else { Self(elements.into()) }
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Vec::from_iter(elements).into()
    }
}

impl<'l, T> IntoIterator for &'l List<T> {
    type Item = &'l T;
    type IntoIter = std::slice::Iter<'l, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_list() {
        let list: List<_> = [1, 2].into_iter().collect();
        assert!(Arc::ptr_eq(&list.0, &list.clone().0));
        assert_eq!((&list[..], list.iter().sum::<i32>()), (&[1, 2][..], 3));
    }

    #[test]
    fn an_empty_list_is_the_same_for_all() {
        let [one, other] = [List::<String>::from(Vec::new()), List::default()];
        assert!(Arc::ptr_eq(&one.0, &other.0));
    }

    #[test]
    fn it_is_compared_as_what_it_holds() {
        let list: List<_> = [1, 2].into_iter().collect();
        assert!(list == &[1, 2][..] && list != &[1, 3][..] && list != &[1][..]);
        assert_eq!(format!("{list:?}"), "[1, 2]");
        assert_eq!((&list).into_iter().copied().max(), Some(2));
    }
}
