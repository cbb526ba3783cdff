//! What an expression of `filter_key` matches, as far as its syntax tree tells: every key, the empty text, whole keys only. It words nothing.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind,
    RepetitionKind, RepetitionRange,
};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, HirKind};

/// Whether an expression says nothing of what it matches but perhaps how long that is.
pub fn is_any(ast: &Ast) -> bool {
    says_nothing(ast, is_every_character)
}

/// Whether an expression says next to nothing of what it matches: its classes take nearly every character that a key has.
pub fn is_nearly_any(ast: &Ast) -> bool {
    says_nothing(ast, is_nearly_every_character)
}

/// Whether an expression says nothing of what it matches but perhaps how long that is, where such `classes` say nothing.
fn says_nothing(ast: &Ast, classes: fn(&Ast) -> bool) -> bool {
    let nothing = |ast: &Ast| says_nothing(ast, classes);
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Dot(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) => false,
        Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => classes(ast),
        Ast::Repetition(repeated) => nothing(&repeated.ast),
        Ast::Group(group) => nothing(&group.ast),
        Ast::Alternation(either) => either.asts.iter().any(|ast| nothing(ast) && !matches!(ast, Ast::Empty(_))),
        // Beside something that takes whatever there is, what need not be there says nothing.
        Ast::Concat(all) => {
            all.asts.iter().all(nothing)
                || all.asts.iter().all(|ast| nothing(ast) || matches_empty(ast))
                    && all.asts.iter().any(|ast| nothing(ast) && is_endless(ast))
        }
    }
}

/// Whether an expression matches from the beginning of a text to its end only.
pub fn is_anchored(ast: &Ast) -> bool {
    match ast {
        Ast::Group(group) => is_anchored(&group.ast),
        Ast::Alternation(either) => either.asts.iter().all(is_anchored),
        Ast::Concat(all) => {
            let at = |ast: Option<&Ast>, kinds: [AssertionKind; 2]| matches!(ast, Some(Ast::Assertion(assertion)) if kinds.contains(&assertion.kind));
            at(all.asts.first(), [AssertionKind::StartLine, AssertionKind::StartText])
                && at(all.asts.last(), [AssertionKind::EndLine, AssertionKind::EndText])
        }
        _ => false,
    }
}

/// Whether anything in an expression is a repetition without an end.
pub fn has_endless(ast: &Ast) -> bool {
    match ast {
        Ast::Group(group) => has_endless(&group.ast),
        Ast::Repetition(repeated) => is_endless(ast) || has_endless(&repeated.ast),
        Ast::Alternation(either) => either.asts.iter().any(has_endless),
        Ast::Concat(all) => all.asts.iter().any(has_endless),
        _ => false,
    }
}

/// Whether an expression is a repetition without an end.
fn is_endless(ast: &Ast) -> bool {
    match ast {
        Ast::Group(group) => is_endless(&group.ast),
        Ast::Repetition(repeated) => !matches!(
            repeated.op.kind,
            RepetitionKind::ZeroOrOne
                | RepetitionKind::Range(RepetitionRange::Exactly(_) | RepetitionRange::Bounded(_, _))
        ),
        _ => false,
    }
}

/// Characters that printable ASCII has, from the blank to the tilde.
const PRINTABLE: std::ops::RangeInclusive<u8> = b' '..=b'~';
/// How many of those a class takes at least that takes nearly every character.
const NEARLY_ALL: usize = 90;
/// What parts of keys' names are put together with: a class without one of these says something.
const SEPARATORS: &str = ":.-_/|#";

/// Whether a class takes nearly every character that a key has: all that names are made of, and few others fail.
fn is_nearly_every_character(class: &Ast) -> bool {
    if let Ast::ClassUnicode(named) = class {
        return is_every_named(named);
    }
    // As bytes are matched; else by characters, where the class has some that are no byte.
    let translated = |unicode| TranslatorBuilder::new().unicode(unicode).utf8(false).build().translate("", class).ok();
    let Some(hir) = translated(false).or_else(|| translated(true)) else { return false };
    let takes = |byte: u8| match hir.kind() {
        HirKind::Class(Class::Bytes(class)) => class.iter().any(|r| (r.start()..=r.end()).contains(&byte)),
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().any(|r| (r.start()..=r.end()).contains(&char::from(byte)))
        }
        _ => false,
    };
    let names = PRINTABLE.filter(|byte| byte.is_ascii_alphanumeric() || SEPARATORS.contains(char::from(*byte)));
    names.into_iter().all(takes) && PRINTABLE.filter(|byte| takes(*byte)).count() >= NEARLY_ALL
}

/// Whether a class that is named has all characters, or all but those that are hardly in a key: `\p{Any}`, `\P{C}`.
fn is_every_named(class: &ClassUnicode) -> bool {
    let name = match &class.kind {
        ClassUnicodeKind::OneLetter(letter) => letter.to_string(),
        ClassUnicodeKind::Named(name) => name.to_ascii_lowercase().replace(['_', ' ', '-'], ""),
        ClassUnicodeKind::NamedValue { .. } => return false,
    };
    match class.negated {
        false => ["any", "ascii", "assigned"].contains(&name.as_str()),
        true => {
            let hardly = ["c", "cc", "other", "control", "z", "zs", "separator", "spaceseparator", "whitespace"];
            hardly.contains(&name.to_ascii_lowercase().as_str())
        }
    }
}

/// Whether a class has some characters and all others too, such as `[\s\S]`.
fn is_every_character(class: &Ast) -> bool {
    let Ast::ClassBracketed(class) = class else { return false };
    let ClassSet::Item(ClassSetItem::Union(union)) = &class.kind else { return false };
    let has = |wanted: &ClassPerlKind, negated: bool| {
        union.items.iter().any(|item| match item {
            ClassSetItem::Perl(ClassPerl { kind, negated: is, .. }) => kind == wanted && *is == negated,
            _ => false,
        })
    };
    let kinds = [ClassPerlKind::Digit, ClassPerlKind::Space, ClassPerlKind::Word];
    !class.negated && kinds.iter().any(|kind| has(kind, true) && has(kind, false))
}

/// Whether a class is a list of characters.
pub fn names_its_characters(class: &ClassSet) -> bool {
    match class {
        ClassSet::Item(ClassSetItem::Literal(_)) => true,
        ClassSet::Item(ClassSetItem::Union(union)) => {
            union.items.iter().all(|item| matches!(item, ClassSetItem::Literal(_)))
        }
        _ => false,
    }
}

/// Whether an expression matches the empty text.
pub fn matches_empty(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => false,
        Ast::Repetition(repeated) => {
            let none = match &repeated.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => true,
                RepetitionKind::OneOrMore => false,
                RepetitionKind::Range(
                    RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(n, _),
                ) => *n == 0,
            };
            none || matches_empty(&repeated.ast)
        }
        Ast::Group(group) => matches_empty(&group.ast),
        Ast::Alternation(either) => either.asts.iter().any(matches_empty),
        Ast::Concat(all) => all.asts.iter().all(matches_empty),
    }
}
