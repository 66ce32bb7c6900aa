//! Input and templates made to cost time or memory (THREATS A8, B4).

use super::{fixture, gguf, message, with_template};
use orrery_model::Error;
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};
use std::time::{Duration, Instant};

/// Far above what is needed, far below what anything quadratic on a megabyte takes.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn long_texts_of_anything_take_about_linear_time() {
    let units = ["a", " ", "\n", " \n", "1", "!", "é", "🦉", "ab ", "e\u{301}", "'", "<", "<|im_", "▁", "\u{301}"];
    for name in ["smollm", "llama3", "qwen2", "spm"] {
        let tokenizer = Tokenizer::new(&TextSource::Gguf(gguf(&fixture(name)))).unwrap();
        for unit in units {
            // More where a piece has no end; each is enough to show a square.
            let bytes = if ["a", " "].contains(&unit) && ["smollm", "spm"].contains(&name) { 1 << 18 } else { 1 << 17 };
            let text = format!("{}x", unit.repeat(bytes / unit.len()));
            let start = Instant::now();
            let tokens = tokenizer.encode(&text, false).unwrap();
            assert!(start.elapsed() < LONG, "{name}: {unit:?} took {:?}", start.elapsed());
            let decoded = tokenizer.decode(&tokens);
            let same = decoded == text || (name == "qwen2" && unit == "e\u{301}") || (name == "spm" && unit == "▁");
            assert!(same, "{name}: {unit:?} did not come back");
        }
    }
}

#[test]
fn a_megabyte_of_special_tokens_in_a_chat_takes_about_linear_time() {
    let (tokenizer, template) = with_template("{{ messages[0].content | trim }}");
    let content = "<|im_end|>".repeat(100_000);
    let start = Instant::now();
    let rendered = template.render(&[message("user", &content)], true).unwrap();
    let tokens = tokenizer.encode_rendered(&rendered).unwrap();
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert!(tokens.iter().all(|token| !tokenizer.is_control(*token)));
}

#[test]
fn long_chats_have_fuel_enough() {
    let (_, template) = with_template(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>' + '\n' }}{% endfor %}",
    );
    let long = vec![message("user", &"word ".repeat(800_000))];
    assert!(template.render(&long, true).is_ok());
    let many: Vec<_> = (0..20_000).map(|_| message("user", "x")).collect();
    assert!(template.render(&many, true).is_ok());
}

/// The template fails cleanly, and soon, on a thread with the stack of a worker.
fn check(template: &str) {
    let text = GgufText { chat_template: Some(template.to_owned()), ..gguf(&fixture("smollm")) };
    let source = TextSource::Gguf(text);
    let tokenizer = Tokenizer::new(&source).unwrap();
    let start = Instant::now();
    let run = || match ChatTemplate::new(&source, &tokenizer) {
        Ok(built) => built.render(&[message("user", "hi")], true).map(|_| ()),
        Err(error) => Err(error),
    };
    let found = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    let shown: String = template.chars().take(80).collect();
    assert!(matches!(found, Err(Error::Template(_))), "{shown}: {found:?}");
    assert!(start.elapsed() < LONG, "{shown}: {:?}", start.elapsed());
}

#[test]
fn templates_without_end_run_out_of_fuel() {
    check(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    );
    check("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    check("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}");
    check("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}");
    check(
        "{{ range(99999) | map('string') | join('x') | length }}{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
    );
}

#[test]
fn memory_bombs_are_refused() {
    check("{{ 'a' * 10**9 }}");
    check("{{ ('a' * 10**7) * 10**7 }}");
    check(
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | length }}",
    );
    check("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}");
    check(
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('a', 'aa') %}{% endfor %}",
    );
    check(
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', 'aa') %}{% endfor %}",
    );
    check(
        "{% set ns = namespace(s=['a','b']) %}{% for i in range(60) %}{% set ns.s = (ns.s + ns.s) | list %}{% endfor %}{{ ns.s | join(',') }}",
    );
    check("{% set s = 'a' * 60000 %}{% for i in range(9999) %}{{ s }}{% endfor %}");
    check("{{ '{:>999999999}'.format(1) }}");
    check("{{ '%999999999d' | format(1) }}");
    check("{{ ('a' * 4000) | indent(999999999) }}{{ ('a\n' * 100000) | indent(99999999) }}");
    check("{{ [1] | batch(999999999, 'x') | list | length }}{{ [0] * 10**9 }}");
    check(
        "{% set ns = namespace(s={'a': 1}) %}{% for i in range(60) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s | tojson }}",
    );
    check(
        "{% set ns = namespace(s={'a': 1}) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    );
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    check(&format!("{{{{ {}1{} }}}}", "(".repeat(200_000), ")".repeat(200_000)));
    check(&format!("{{{{ {}1{} }}}}", "[".repeat(200_000), "]".repeat(200_000)));
    check(&format!("{{{{ {}1 }}}}", "not ".repeat(200_000)));
    check(&format!("{{{{ {}1 }}}}", "-".repeat(200_000)));
    check(&"{% if true %}".repeat(50_000));
    check(&format!("{{{{ {}1 }}}}", "1 ~ ".repeat(400)).repeat(60));
    check(
        "{% set ns = namespace(s=[]) %}{% for i in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}{{ nosuch() }}",
    );
}

#[test]
fn an_error_far_to_the_right_is_an_error() {
    check(&format!("{}{{{{ '", " ".repeat(70_000)));
    check(&format!("{}{{% if %}}", "x".repeat(70_000)));
}

#[test]
fn attributes_lead_nowhere() {
    for path in [
        "''.__class__.__mro__",
        "messages.__class__.__base__",
        "self.__init__.__globals__",
        "raise_exception.__globals__.os",
    ] {
        check(&format!("{{{{ {path} }}}}"));
    }
    check("{{ cycler.__init__.__globals__.os.popen('id').read() }}");
    check("{% import 'os' as os %}");
}

/// Found by fuzzing: names in formats were read byte by byte, with a panic inside a character.
#[test]
fn names_in_formats_are_ascii() {
    for format in
        ["{{ '%(\u{e9})s'|format({'a': 1}) }}", "{{ '%(\u{e9}'|format(1) }}", "{{ '{a[\u{e9}]}'.format(a={}) }}"]
    {
        let (_, template) = with_template(format);
        let error = template.render(&[message("user", "Hi")], true).expect_err("refused").to_string();
        assert!(error.contains("ASCII names only"), "{format}: {error}");
    }
    let (_, template) = with_template("{{ '\u{e9} %(a)s'|format({'a': 1}) }}{{ ' \u{e9} {}'.format(2) }}");
    assert_eq!(template.render(&[message("user", "Hi")], true).unwrap().plain_text(), "\u{e9} 1 \u{e9} 2");
}

/// A value that refers to itself twice costs a step; showing it would cost 2^60.
#[test]
fn values_that_unfold_without_bound_are_refused() {
    let grow = |start: &str, step: &str, show: &str| {
        check(&format!(
            "{{% set ns = namespace(s={start}, t={start}) %}}{{% for i in range(60) %}}{{% set ns.s = {step} %}}\
             {{% set ns.t = {step} %}}{{% endfor %}}{show}{{{{ nosuch() }}}}"
        ));
    };
    let steps = [
        "[ns.s, ns.s]",
        "(ns.s, ns.s)",
        "ns.s, ns.s",
        "{'a': ns.s, 'b': ns.s}",
        "dict(a=ns.s, b=ns.s)",
        "ns.s + ns.s",
        "ns.s * 2",
        "2 * ns.s",
        "ns.s | chain(ns.s)",
        "ns.s | zip(ns.s) | list",
    ];
    let shows = [
        "{{ ns.s }}",
        "{{ ns.s ~ '' }}",
        "{{ ns.s | tojson }}",
        "{{ ','.join(ns.s) }}",
        "{{ ns.s == ns.t }}",
        "{{ ns.s | sort }}",
    ];
    for step in steps {
        for show in shows {
            grow("['a']", step, show);
        }
    }
    check("{% macro f(x) %}{{ f([x, x, x, x, x, x, x, x, x, x, x, x]) }}{{ x | string }}{% endmacro %}{{ f(1) }}");
    check("{% macro f(x) %}{{ f(x + x + x + x + x + x + x + x) }}{{ x | string }}{% endmacro %}{{ f([1]) }}");
    check("{% for x in [[1]] recursive %}{{ x | string }}{{ loop([[x, x, x, x, x, x, x, x, x, x, x]]) }}{% endfor %}");
}

#[test]
fn a_namespace_cannot_contain_itself() {
    check("{% set ns = namespace(s=1) %}{% set ns.s = ns %}{{ ns }}");
    check("{% set ns = namespace(s=1) %}{% set l = ns %}{% set ns.s = l %}{{ ns }}");
    check("{% set ns = namespace(s=1) %}{% set l = [ns] %}{% set ns.s = l %}{{ ns }}");
    check("{% set ns = namespace(s=1) %}{% set other = namespace(s=ns) %}{% set ns.s = other %}{{ ns }}");
}

#[test]
fn guards_leave_honest_expressions_as_they_are() {
    let (_, template) = with_template(
        "{% set (a, b) = ([1, 2], {'k': [3]}) %}{% for (k, v) in b.items() if (k) in ['k'] %}{{ k ~ v[0] }}{% endfor %}\
         {% macro f(x, y=[4, 5]) %}{{ (x + y)[-1] * 2 }}{{ ' ' * 2 }}{% endmacro %}{{ f(a) }}{{ a[0] + 2 * (a[1] + 1) }}\
         {{ messages[0]['nosuch'] is defined }}{{ f(a) | trim | length }}{% filter replace('a', 'b') %}aa{% endfilter %}\
         {% if not (1) in [2] and messages[0].content.split(',')[1:] | length == 1 %}{{ {'a': {}}.a }}{% endif %}\
         {% set s %}x{% endset %}{{ s + 'y' }}{{ [1, 2, 3][::-1][0] }}{{ 'a%s' | format(1) }}{{ '{:>3}'.format(7) }}",
    );
    let rendered = template.render(&[message("user", "a,b")], true).unwrap();
    assert_eq!(rendered.plain_text(), "k310  7False2bb{}xy3a1  7");
}

/// What minijinja counts as a step or two and reads a megabyte for. A hundred of them are over any fuel.
#[test]
fn values_are_paid_for_wherever_they_are_read() {
    let out_of_fuel = |setup: &str, read: &str, times: usize| {
        let source = format!("{setup}{{% for i in range({times}) %}}{{% set x = {read} %}}{{% endfor %}}");
        let (_, template) = with_template(&source);
        match template.render(&[message("user", "hi")], true) {
            Err(Error::Template(reason)) => assert!(reason.contains("more steps"), "{read}: {reason}"),
            found => panic!("{read}: {found:?}"),
        }
    };
    let texts = "{% set s = 'A' * 900000 %}{% set t = 'A' * 900000 %}";
    for read in [
        "s == t",
        "s != t",
        "s < t",
        "s is upper",
        "s is not lower",
        "s is eq(t)",
        "s is eq t",
        "'a' is in(s)",
        "s in ['a']",
        "s not in ['a']",
        "'a'.find(s)",
        "'a'.count(s)",
        "'a'.split(s)",
        "'a'|replace(s, t)",
        "'a'|split(s)|list",
        "{}[s]",
        "'a' is endingwith(s)",
        "namespace(a=s)",
    ] {
        out_of_fuel(texts, read, 100);
    }
    let lists = "{% set s = ['A' * 450000, 'A' * 450000] %}{% set t = ['A' * 450000, 'A' * 450000] %}";
    for read in [
        "s == t",
        "s|select('upper')|list",
        "s|reject('eq', 'b')|list",
        "s|unique|list",
        "s|sort",
        "s|max",
        "s is startingwith('b')",
        "s|map('length')|list",
        "s.count('b')",
    ] {
        out_of_fuel(lists, read, 300);
    }
}

/// Names of special tokens are searched for in every text and cut in every way: a vocabulary of nothing else is refused.
#[test]
fn special_tokens_are_few_and_short() {
    let with = |names: Vec<String>| {
        let mut text = gguf(&fixture("smollm"));
        text.token_types.extend(names.iter().map(|_| 3));
        text.tokens.extend(names);
        Tokenizer::new(&TextSource::Gguf(text)).map(|_| ())
    };
    assert!(with((0..5_000).map(|i| format!("<|reserved_special_token_{i}|>")).collect()).is_ok());
    for names in [vec!["x".repeat(1_025)], (0..100_000).map(|i| format!("<{i}>")).collect()] {
        let found = with(names);
        assert!(matches!(&found, Err(Error::Tokenizer(reason)) if reason.contains("special tokens")), "{found:?}");
    }
}
