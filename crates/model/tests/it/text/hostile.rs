//! Input and templates made to cost time or memory (THREATS A8, B4).

use super::{fixture, gguf, message, with_template};
use orrery_model::Error;
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};
use std::time::{Duration, Instant};

/// Far above what is needed, far below what anything quadratic on a megabyte takes.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_megabyte_of_anything_takes_about_linear_time() {
    let units = ["a", " ", "\n", " \n", "1", "!", "é", "🦉", "ab ", "e\u{301}", "'", "<", "<|im_", "▁", "\u{301}"];
    for name in ["smollm", "llama3", "qwen2", "spm"] {
        let tokenizer = Tokenizer::new(&TextSource::Gguf(gguf(&fixture(name)))).unwrap();
        for unit in units {
            let text = format!("{}x", unit.repeat((1 << 20) / unit.len()));
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
    check(
        "{% set ns = namespace(s=[]) %}{% for i in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}{{ nosuch() }}",
    );
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

#[test]
#[ignore = "probe"]
fn probe() {
    let start = Instant::now();
    check(&std::fs::read_to_string("/tmp/text/probe.txt").unwrap());
    eprintln!("{:?}", start.elapsed());
}
