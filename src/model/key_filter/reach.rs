//! What an expression of `filter_key` matches, as far as its syntax tree tells: every key, the empty text, whole keys only. It words nothing.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, RepetitionKind,
    RepetitionRange,
};

/// Whether an expression says nothing of what it matches but perhaps how long that is.
pub fn is_any(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Dot(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => false,
        Ast::ClassBracketed(class) => is_every_character(class),
        Ast::Repetition(repeated) => is_any(&repeated.ast),
        Ast::Group(group) => is_any(&group.ast),
        Ast::Alternation(either) => either.asts.iter().any(|ast| is_any(ast) && !matches!(ast, Ast::Empty(_))),
        // Beside something that takes whatever there is, what need not be there says nothing.
        Ast::Concat(all) => {
            all.asts.iter().all(is_any)
                || all.asts.iter().all(|ast| is_any(ast) || matches_empty(ast))
                    && all.asts.iter().any(|ast| is_any(ast) && is_endless(ast))
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

/// Whether a class has some characters and all others too, such as `[\s\S]`.
fn is_every_character(class: &ClassBracketed) -> bool {
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
