//! Per kind: texts in which it is found, with what is found in «».
//!
//! Identifiers are the published samples of their authorities and standards, or made up.

use super::super::{Kind, find, mask};
use super::check;

const FOUND: &[(Kind, &[&str])] = &[
    (
        Kind::Email,
        &[
            "Write to «anna.smith@example.com», please.",
            "<«a@b.de»>",
            "mailto:«o'brien+tag@mail.example.co.uk»",
            "email=«JOHN_DOE@EXAMPLE.ORG»",
            "users/«x%y@host.example»",
            "«josé@bücher.de»",
            "«a@xn--bcher-kva.de».",
            "«a@b.com». Then",
            "'«john@x.io»'",
            "«1234@example.com»",
        ],
    ),
    (
        Kind::Phone,
        &[
            "«+1 212 555 0100»",
            "«+44 (0)20 7946 0958» or",
            "«+49(0)30 1234567»",
            "«0049 30 1234567»",
            "tel:«+1-415-923-6421»",
            "«+491701234567»",
            "(«212) 555-0100»",
            " «212-555-0100».",
            "«1-212-555-0100»",
            "«212.555.0100»",
            "«01 23 45 67 89»",
            "«030/1234567»",
            "«0170 123 4567»",
            "«98765 43210»",
            "«11 91234-5678»",
            "«138 1234 5678»",
            "call «555-1234»",
            "mobile: «07700900123»",
            "Tel. «93 123 45 67»",
            "«+44 20\n7946 0958»",
            "phone:电话«13812345678»号",
            "«+39 06 1234567»",
            "«+353 87 1234567»",
            "«052-234-5678»",
        ],
    ),
    (
        Kind::Card,
        &[
            "«4111 1111 1111 1111» 123",
            "«5555-5555-5555-4444»",
            "card=«378282246310005»,",
            "«6011111111111117»",
            "«3530.1113.3330.0000»",
            "«3056 930902 5904»",
            "2 «4111 1111 1111 1111»",
            "«4111\n1111\n1111\n1111»",
            "«4222222222222»",
            "«2223003122003222» 04/29",
        ],
    ),
    (
        Kind::Iban,
        &[
            "«GB82 WEST 1234 5698 7654 32» and",
            "«DE89370400440532013000».",
            "«FR14 2004 1010 0505 0001 3M02 606»",
            "«NO93 8601 1117 947»",
            "«MT84 MALT 0110 0001 2345 MTLC AST0 01S»",
            "iban:«gb82 west 1234 5698 7654 32»",
            "«DE89-3704-0044-0532-0130-00»",
            "«DE89 3704 0044\n0532 0130 00»",
        ],
    ),
    (
        Kind::Ip,
        &[
            "«192.168.0.1»",
            "http://«10.0.0.1»:8080/",
            "«10.0.0.0/8»",
            "«8.8.8.8».",
            "driver from «8.8.8.8»",
            "B-V «10.1.2.3»",
            "root@«10.1.2.3»",
            "«2001:db8::1»",
            "[«fe80::1%eth0»]:22",
            "«::1»",
            "«2001:0db8:0000:0000:0000:ff00:0042:8329»",
            "«::ffff:1.2.3.4»",
            "«2001:db8::/32»",
        ],
    ),
    (Kind::UsSsn, &["«123-45-6789»", "«123 45 6789»", "ssn=«123456789»", "Social Security: «123.45.6789»"]),
    (Kind::UsItin, &["«912-70-1234»", "ITIN «912701234»"]),
    (Kind::UkNino, &["«AB 12 34 56 C»", "«ab123456c»", "NINO: «JG103759A»"]),
    (Kind::UkNhs, &["«450 110 2985»", "«943 476 5919»", "«9434765919»", "NHS «943-476-5919»"]),
    (Kind::DeTaxId, &["Steuer-ID «86095742719»", "«47036892816»", "«65 929 970 489»"]),
    (Kind::FrNir, &["«255081416802538»", "«2 55 08 14 168 025 38»"]),
    (Kind::EsDni, &["«12345678Z»", "«12345678-Z»", "DNI «00000001R»"]),
    (Kind::EsNie, &["«X1234567L»", "«X-1234567-L»", "«Y0123456Y»"]),
    (Kind::ItFiscalCode, &["«RSSMRA85T10A562S»", "«RSS MRA 85T10 A562S»", "CF: «rssmra85t10a562s»"]),
    (Kind::InAadhaar, &["«2341 2341 2346»", "Aadhaar «234123412346»", "«2341-2341-2346»"]),
    (Kind::InPan, &["PAN «ABCPE1234F»", "(«AAAPL1234C»)"]),
    (Kind::PlPesel, &["PESEL: «44051401359»"]),
    (Kind::NlBsn, &["BSN «111222333»", "«1112.22.333»"]),
    (Kind::BeNationalNumber, &["«85.07.30-033.28»", "rijksregister «85073003328»"]),
    (Kind::SePersonnummer, &["«811228-9874»", "«19811228-9874»", "«198112289874»", "«811228+9874»"]),
    (Kind::FiHetu, &["«131052-308T»"]),
    (Kind::BrCpf, &["«529.982.247-25»", "CPF «52998224725»"]),
    (Kind::SgNric, &["«S1234567D»"]),
    (Kind::KrRrn, &["«900101-1234568»", "RRN «210101-3999999»"]),
    (Kind::AuTfn, &["TFN «123 456 782»", "tax file number: «123456782»"]),
    (Kind::CaSin, &["«130 692 544»", "SIN «130692544»"]),
    (Kind::ChAhv, &["«756.9217.0769.85»"]),
    (Kind::CnResidentId, &["«11010519491231002X»"]),
    (Kind::AwsKey, &["«AKIAIOSFODNN7EXAMPLE»", "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"]),
    (
        Kind::GithubToken,
        &["«ghp_0123456789abcdefghijABCDEFGHIJ012345»", "«github_pat_11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz»"],
    ),
    (
        Kind::SlackToken,
        &[
            "«xoxb-123456789012-abcdefABCDEF»",
            "https://«hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX»",
        ],
    ),
    (
        Kind::GoogleKey,
        &[
            "«AIzaSyA-0123456789abcdefghijklmnopqrstu»",
            "«ya29.a0AfH6SMBabcdefghijklmnop»",
            "«GOCSPX-abcdefghijklmnopqrstuvwx»",
        ],
    ),
    (Kind::StripeKey, &["«sk_test_0123456789abcdefABCDEF»", "«whsec_0123456789abcdef»"]),
    (
        Kind::AiKey,
        &[
            "«sk-ant-api03-abcdefghij0123456789-ABCDE_x»",
            "«sk-proj-abcdefghij0123456789»",
            "«sk-abcdefghijklmnop0123456789ABCDEFGHIJ»",
        ],
    ),
    (
        Kind::OrreryKey,
        &["«orr_0123456789abcdefghijklmnopqrstuvABCDEF».", "Bearer «orr_0123456789abcdefghijklmnopqrstuvABCDEF»"],
    ),
    (Kind::ApiKey, &["«glpat-0123456789abcdefghij»", "«npm_0123456789abcdefghijABCDEFGHIJ012345»"]),
    (Kind::Jwt, &["«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U»."]),
    (
        Kind::PrivateKey,
        &[
            "«-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----» end",
            "\"«-----BEGIN RSA PRIVATE KEY-----\\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Q\\nuKUpR\\n-----END RSA PRIVATE KEY-----»\\n\"",
            "«-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,D54228DB5838E32589695E83A22595C7\n\n8+0Mrzba4HtbbC0RtT9\n-----END RSA PRIVATE KEY-----»",
            "«-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49» it breaks off",
        ],
    ),
    (
        Kind::BearerToken,
        &["Authorization: Bearer «abcDEF0123456789.xyz~+/==»", "authorization: basic «dXNlcjpwYXNzd29yZA==»"],
    ),
    (
        Kind::Password,
        &[
            "password=«hunter2»",
            "Password: «S3cret!pass».",
            "DB_PASSWORD=«correcthorse»",
            "\"password\": \"«correct horse battery»\"",
            "my password is «hunter2», ok?",
            "postgres://app:«tr0ub4dor»@db/x",
            "client_secret: '«abcdef0123456789»'",
            "api-key=«0123456789abcdef»",
            "pwd := «pässw0rd»",
            "?token=«abcdef123456»&x=1",
            "dbPassword => «x9y8z7»",
        ],
    ),
];

#[test]
fn each_kind_is_found() {
    let mut wrong = Vec::new();
    for (kind, texts) in FOUND {
        for marked in *texts {
            let mut expected: Vec<&str> =
                marked.split('«').skip(1).map(|rest| rest.split('»').next().unwrap_or_default()).collect();
            let text = marked.replace(['«', '»'], "");
            if text.starts_with('(') && *kind == Kind::Phone {
                // The bracket belongs to the number.
                expected = vec![text.as_str()];
            }
            let expected: Vec<_> = expected.into_iter().map(|text| (*kind, text)).collect();
            let found: Vec<_> = find(&text).into_iter().map(|finding| (finding.kind, &text[finding.range])).collect();
            if found != expected {
                wrong.push(format!("{text:?}: {found:?} instead of {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_kind() {
    let named: Vec<Kind> = FOUND.iter().map(|row| row.0).collect();
    assert_eq!(named, Kind::ALL);
}

#[test]
fn names_are_unique_and_markers_show_them() {
    let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert!(Kind::ALL.iter().all(|kind| kind.marker() == format!("[{kind}]")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}

#[test]
fn a_masked_text_keeps_all_else() {
    let text = "Hi, I'm Ann (ann@x.org), card 4111 1111 1111 1111, from 10.0.0.1:80.";
    let (masked, findings) = mask(text);
    assert_eq!(masked, "Hi, I'm Ann ([EMAIL]), card [CARD], from [IP]:80.");
    assert_eq!(
        findings.iter().map(|finding| &text[finding.range.clone()]).collect::<Vec<_>>(),
        ["ann@x.org", "4111 1111 1111 1111", "10.0.0.1"]
    );
}

#[test]
fn masking_twice_changes_nothing() {
    for (_, texts) in FOUND {
        for text in *texts {
            let once = mask(text).0;
            assert_eq!(mask(&once).0, once, "of {text:?}");
        }
    }
}

#[test]
fn the_surer_kind_wins_at_one_place() {
    check("phone 212 555 0100", &[(Kind::Phone, "212 555 0100")]);
    check("NHS 943 476 5919", &[(Kind::UkNhs, "943 476 5919")]);
    check("phone 943 476 5919", &[(Kind::Phone, "943 476 5919")]);
    check(
        "password=ghp_0123456789abcdefghijABCDEFGHIJ012345",
        &[(Kind::GithubToken, "ghp_0123456789abcdefghijABCDEFGHIJ012345")],
    );
    check("password=4111111111111111", &[(Kind::Password, "4111111111111111")]);
    check("1.2.3.4@example.com", &[(Kind::Email, "1.2.3.4@example.com")]);
}
