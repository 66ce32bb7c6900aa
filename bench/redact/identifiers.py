"""Makes identifiers that are valid by their public specifications, from a seeded random source. Nothing here is anyone's.

Each maker takes a `random.Random` and returns the text as people write it. The formats are those of the specifications and of
the authorities' own print, named at each maker; they were written down before either tool was run on them.
"""


def digits(r, count):
    return "".join(str(r.randrange(10)) for _ in range(count))


def pick(r, text):
    return text[r.randrange(len(text))]


def letters(r, count, alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
    return "".join(pick(r, alphabet) for _ in range(count))


def groups(text, sizes, separator):
    out, at = [], 0
    for size in sizes:
        if at < len(text):
            out.append(text[at:at + size])
        at += size
    return separator.join(out)


def date(r, first=1940, last=2005):
    return first + r.randrange(last - first), 1 + r.randrange(12), 1 + r.randrange(28)


# --- e-mail: RFC 5321 and 5322 dot-atoms, RFC 5890 A-labels, RFC 6531 for letters outside ASCII

FIRST = "anna james maria wei olu fatima piotr ingrid carlos yuki amit chloe lars nadia tom sofia ivan leila hugo emma".split()
LAST = "smith garcia mueller kowalski rossi tanaka okafor patel dubois jensen novak silva brown haddad lindqvist obrien".split()
DOMAINS = """example.com example.org example.net mail.example.com acme-tools.com northwind.co.uk contoso.de fabrikam.fr
university.edu dept.university.edu city.gov startup.io shop.example.in empresa.com.br azienda.it bedrijf.nl firma.pl
xn--bcher-kva.de my-company.museum a1.systems post.ch bank.se""".split()


def email(r):
    first, last = r.choice(FIRST), r.choice(LAST)
    local = r.choice([
        f"{first}.{last}", f"{first}{r.randrange(100)}", f"{first[0]}{last}", f"{first}_{last}", f"{first}+{last}", f"{first}-{last}",
        f"{first}.{last}.{r.randrange(2000)}", f"{first}.o'{last}", f"{first.title()}.{last.title()}", f"{first.upper()}",
        f"{first}.{last}+tag-{r.randrange(100)}", f"{first[0]}.{last}", f"{r.randrange(10**6)}", f"x{first}%{last}",
        f"info", f"{first}&co", f"jos\u00e9.{last}", f"j\u00f6rg_{last}"])
    domain = r.choice(DOMAINS + ["b\u00fccher.de"])
    return f"{local}@{domain.upper() if r.randrange(12) == 0 else domain}"


# --- telephone: ITU-T E.164 and E.123, RFC 3966, and the national plans of the regions named

def us(r):
    area = r.choice("212 213 305 312 404 415 503 512 602 617 646 702 713 718 804 206 303 214 919 416 604 514".split())
    exchange = r.choice("223 234 267 329 345 378 432 456 487 523 564 592 634 667 723 765 834 876 923 967".split())
    return area, exchange, digits(r, 4)


def phone_us(r):
    a, b, c = us(r)
    return r.choice([f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"{a}.{b}.{c}", f"{a} {b} {c}", f"1-{a}-{b}-{c}", f"({a}){b}-{c}",
                     f"1 ({a}) {b}-{c}", f"+1 {a} {b} {c}", f"+1-{a}-{b}-{c}", f"+1 ({a}) {b}-{c}", f"+1{a}{b}{c}", f"+1.{a}.{b}.{c}",
                     f"tel:+1-{a}-{b}-{c}"])


def phone_gb(r):
    style = r.randrange(4)
    if style == 0:
        head, a, b = "20", r.choice(["7946", "7123", "8123", "3456"]), digits(r, 4)
    elif style == 1:
        head, a, b = r.choice(["161", "121", "113", "131", "141"]), r.choice(["496", "234", "555", "712"]), digits(r, 4)
    elif style == 2:
        head, a, b = r.choice(["7700", "7911", "7400", "7812", "7525"]), "900", digits(r, 3)
    else:
        head, a, b = r.choice(["1632", "1223", "1865", "1273"]), r.choice(["960", "345", "712"]), digits(r, 3)
    return r.choice([f"0{head} {a} {b}", f"(0{head}) {a} {b}", f"+44 {head} {a} {b}", f"+44 (0){head} {a} {b}", f"+44{head}{a}{b}",
                     f"0{head}-{a}-{b}", f"0044 {head} {a} {b}"])


def phone_de(r):
    if r.randrange(2):
        head, body = r.choice(["30", "89", "40", "221", "69", "711"]), str(2 + r.randrange(8)) + digits(r, 6)
    else:
        head, body = r.choice(["151", "160", "170", "171", "172", "175", "176"]), str(2 + r.randrange(8)) + digits(r, 6)
        if head in ("151", "176"):
            body += digits(r, 1)
    split = f"{body[:3]} {body[3:]}"
    return r.choice([f"0{head} {body}", f"0{head}/{body}", f"0{head}-{body}", f"(0{head}) {body}", f"+49 {head} {body}", f"+49 {head} {split}",
                     f"+49 (0){head} {body}", f"+49{head}{body}", f"0{head} {split}", f"0049 {head} {body}"])


def phone_fr(r):
    lead = r.choice("1234567")
    body = digits(r, 8)
    pairs = [body[i:i + 2] for i in range(0, 8, 2)]
    separator = r.choice([" ", " ", ".", "-"])
    national = separator.join([f"0{lead}"] + pairs)
    return r.choice([national, national, f"+33 {lead} " + " ".join(pairs), f"+33{lead}{body}", f"+33 (0){lead} " + " ".join(pairs)])


def phone_in(r):
    body = r.choice("98765 98201 99102 97412 80123 70455 91234".split()) + digits(r, 5)
    return r.choice([f"+91 {body[:5]} {body[5:]}", f"+91-{body}", f"+91{body}", f"{body[:5]} {body[5:]}", f"0{body[:5]} {body[5:]}",
                     f"011-2{digits(r, 7)}", f"022 2{digits(r, 3)} {digits(r, 4)}"])


def phone_br(r):
    area = r.choice(["11", "21", "31", "41", "51", "61"])
    a, b = "9" + r.choice("6789") + digits(r, 3), digits(r, 4)
    return r.choice([f"({area}) {a}-{b}", f"+55 {area} {a}-{b}", f"+55 ({area}) {a}-{b}", f"+55{area}{a}{b}", f"{area} {a}-{b}"])


def phone_il(r):
    head = r.choice(["50", "52", "54", "58"])
    a, b = str(2 + r.randrange(8)) + digits(r, 2), digits(r, 4)
    return r.choice([f"0{head}-{a}-{b}", f"0{head}-{a}{b}", f"+972 {head}-{a}-{b}", f"+972-{head}-{a}{b}", f"+972{head}{a}{b}"])


ABROAD = [("34", "6", 8), ("39", "3", 9), ("31", "6", 8), ("81", "90", 8), ("61", "4", 8), ("86", "138", 8), ("48", "5", 8), ("46", "70", 7),
          ("41", "79", 7), ("43", "664", 7), ("353", "87", 7), ("351", "91", 7), ("65", "9", 7), ("82", "10", 8), ("52", "55", 8), ("27", "82", 7),
          ("234", "803", 7), ("971", "50", 7), ("90", "532", 7), ("64", "21", 6)]


def phone_abroad(r):
    code, lead, count = r.choice(ABROAD)
    body = lead + str(2 + r.randrange(8)) + digits(r, count - 1)
    return r.choice([f"+{code}{body}", f"+{code} {groups(body, [3, 3, 5], ' ')}", f"+{code}-{groups(body, [3, 3, 5], '-')}", f"+{code} {body}"])


def phone(r):
    return r.choice([phone_us, phone_us, phone_gb, phone_de, phone_fr, phone_in, phone_br, phone_il, phone_abroad])(r)


# --- payment cards: ISO/IEC 7812-1 with the schemes' published ranges, lengths and print groups

def luhn_digit(body):
    total = 0
    for index, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


SCHEMES = [("4", 16, [4, 4, 4, 4]), ("4", 16, [4, 4, 4, 4]), ("51", 16, [4, 4, 4, 4]), ("54", 16, [4, 4, 4, 4]), ("55", 16, [4, 4, 4, 4]),
           ("2221", 16, [4, 4, 4, 4]), ("2720", 16, [4, 4, 4, 4]), ("34", 15, [4, 6, 5]), ("37", 15, [4, 6, 5]), ("6011", 16, [4, 4, 4, 4]),
           ("65", 16, [4, 4, 4, 4]), ("36", 14, [4, 6, 4]), ("38", 14, [4, 6, 4]), ("3528", 16, [4, 4, 4, 4]), ("3589", 16, [4, 4, 4, 4]),
           ("62", 16, [4, 4, 4, 4]), ("4", 13, [4, 3, 3, 3]), ("6759", 16, [4, 4, 4, 4]), ("4", 19, [4, 4, 4, 4, 3]), ("2200", 16, [4, 4, 4, 4])]


def card(r):
    prefix, length, sizes = r.choice(SCHEMES)
    body = prefix + digits(r, length - 1 - len(prefix))
    number = body + luhn_digit(body)
    return r.choice([number, groups(number, sizes, " "), groups(number, sizes, "-")])


# --- IBAN: ISO 13616, the registry's structures (n digit, a upper-case letter, c either)

STRUCTURES = """AD 8n12c|AE 19n|AT 16n|BE 12n|BG 4a6n8c|BR 23n1a1c|CH 5n12c|CY 8n16c|CZ 20n|DE 18n|DK 14n|EE 16n|ES 20n|FI 14n|FR 10n11c2n|GB 4a14n
GR 7n16c|HR 17n|HU 24n|IE 4a14n|IL 19n|IS 22n|IT 1a10n12c|LI 5n12c|LT 16n|LU 3n13c|LV 4a13c|MC 10n11c2n|MT 4a5n18c|NL 4a10n|NO 11n|PL 24n|PT 21n|RO 4a16c
SA 2n18c|SE 20n|SI 15n|SK 20n|SM 1a10n12c|TN 20n|TR 5n1n16c""".replace("\n", "|").split("|")


def iban(r):
    country, structure = r.choice(STRUCTURES).split()
    body, count = "", ""
    for symbol in structure:
        if symbol.isdigit():
            count += symbol
            continue
        alphabet = {"n": "0123456789", "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "c": "0123456789" * 3 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}[symbol]
        body, count = body + letters(r, int(count), alphabet), ""
    value = int("".join(str(int(c, 36)) for c in body + country + "00"))
    text = f"{country}{98 - value % 97:02d}{body}"
    return r.choice([text, groups(text, [4] * 9, " ")])


# --- IP addresses: RFC 791, 4291 and 5952

def ip(r):
    style = r.randrange(10)
    if style < 5:
        return ".".join(str(x) for x in (1 + r.randrange(254), r.randrange(256), r.randrange(256), 1 + r.randrange(254)))
    words = [f"{r.randrange(1, 65536):x}" for _ in range(8)]
    if style == 5:
        return ":".join(f"{int(w, 16):04x}" for w in words)
    if style == 6:
        return ":".join(words).upper()
    if style == 7:
        return "2001:db8::" + ":".join(words[:1 + r.randrange(4)])
    if style == 8:
        return r.choice(["fe80::" + ":".join(words[:4]), f"2001:db8:{words[0]}::{words[1]}", "::1", f"fd{r.randrange(16, 256):x}:{words[0]}:{words[1]}::1"])
    return f"::ffff:{1 + r.randrange(223)}.{r.randrange(256)}.{r.randrange(256)}.{1 + r.randrange(254)}"


# --- national numbers

def us_ssn(r):  # Social Security Administration: area not 000, 666, 9xx
    area = 1 + r.randrange(898)
    area = 667 if area == 666 else area
    return f"{area:03d}", f"{1 + r.randrange(99):02d}", f"{1 + r.randrange(9999):04d}"


def us_itin(r):  # Internal Revenue Service: 9xx with these middle pairs
    middle = r.choice(list(range(50, 66)) + list(range(70, 89)) + [90, 91, 92, 94, 95, 96, 97, 98, 99])
    return f"9{digits(r, 2)}-{middle:02d}-{digits(r, 4)}"


def uk_nino(r):  # HM Revenue & Customs, National Insurance Manual NIM39110
    while True:
        prefix = pick(r, "ABCEGHJKLMNOPRSTWXYZ") + pick(r, "ABCEGHJKLMNPRSTWXYZ")
        if prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
            break
    text = prefix + digits(r, 6) + pick(r, "ABCD")
    return r.choice([text, groups(text, [2, 2, 2, 2, 1], " "), text, f"{text[:2]} {text[2:8]} {text[8]}"])


def uk_nhs(r):  # NHS Data Dictionary: modulus 11
    while True:
        body = r.choice("467") + digits(r, 8)
        check = 11 - sum(int(d) * (10 - i) for i, d in enumerate(body)) % 11
        if check != 10:
            text = body + str(check % 11)
            return r.choice([text, groups(text, [3, 3, 4], " "), groups(text, [3, 3, 4], "-")])


def de_tax_id(r):  # § 139b AO: one digit twice (or thrice) among the first ten; ISO 7064 mod 11,10
    while True:
        pool = list("0123456789")
        r.shuffle(pool)
        body = pool[:9] + [pool[r.randrange(9)]]
        r.shuffle(body)
        if body[0] != "0":
            break
    product = 10
    for digit in body:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    text = "".join(body) + str((11 - product) % 10)
    return r.choice([text, text, groups(text, [2, 3, 3, 3], " ")])


def fr_nir(r):  # INSEE: key = 97 - number mod 97
    body = f"{1 + r.randrange(2)}{r.randrange(100):02d}{1 + r.randrange(12):02d}{1 + r.randrange(19):02d}{1 + r.randrange(400):03d}{1 + r.randrange(400):03d}"
    text = f"{body}{97 - int(body) % 97:02d}"
    return r.choice([text, groups(text, [1, 2, 2, 2, 3, 3, 2], " ")])


def es_dni(r):  # Ministerio del Interior: number mod 23
    number = r.randrange(10**6, 10**8)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]
    return r.choice([f"{number:08d}{letter}", f"{number:08d}-{letter}"])


def es_nie(r):
    lead, number = r.randrange(3), digits(r, 7)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{lead}{number}") % 23]
    return r.choice([f"{'XYZ'[lead]}{number}{letter}", f"{'XYZ'[lead]}{number}-{letter}"])


ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
               [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]))


def it_fiscal_code(r):  # D.M. 12 marzo 1974
    year, month, day = date(r)
    names = "RSS BNC FRR SPS RMN CLM RCC MRN GRC BRN".split(), "MRA LCU GNN PLA NNA FNC SFO MRC GLI CHR".split()
    body = (r.choice(names[0]) + r.choice(names[1]) + f"{year % 100:02d}" + "ABCDEHLMPRST"[month - 1] + f"{day + 40 * r.randrange(2):02d}"
            + r.choice("H501 F205 L219 F839 D612 A944 G273 Z404".split()))
    total = sum(ODD[c] if i % 2 == 0 else int(c, 36) - (10 if c.isalpha() else 0) for i, c in enumerate(body))
    return body + chr(65 + total % 26)


MULTIPLY = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6], [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
            [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1], [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
            [8, 7, 6, 5, 9, 3, 2, 1, 0, 4], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]
PERMUTE = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
while len(PERMUTE) < 8:
    PERMUTE.append([PERMUTE[-1][PERMUTE[1][i]] for i in range(10)])


def in_aadhaar(r):  # UIDAI: Verhoeff
    body = str(2 + r.randrange(8)) + digits(r, 10)
    for last in "0123456789":
        check = 0
        for index, digit in enumerate(reversed(body + last)):
            check = MULTIPLY[check][PERMUTE[index % 8][int(digit)]]
        if check == 0:
            return r.choice([body + last, groups(body + last, [4, 4, 4], " "), groups(body + last, [4, 4, 4], "-")])


def in_pan(r):  # Income Tax Department: the fourth letter is the kind of holder
    return letters(r, 3) + pick(r, "PPPCHFATBLJG") + letters(r, 1) + f"{1 + r.randrange(9999):04d}" + letters(r, 1)


def pl_pesel(r):
    year, month, day = date(r, 1940, 2015)
    body = f"{year % 100:02d}{month + (20 if year >= 2000 else 0):02d}{day:02d}{digits(r, 4)}"
    return body + str(-sum(int(d) * w for d, w in zip(body, [1, 3, 7, 9] * 3)) % 10)


def fi_hetu(r):
    year, month, day = date(r, 1940, 2015)
    body, number = f"{day:02d}{month:02d}{year % 100:02d}", f"{2 + r.randrange(898):03d}"
    return body + ("A" if year >= 2000 else "-") + number + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(body + number) % 31]


def sg_nric(r):
    lead, body = pick(r, "STFG"), digits(r, 7)
    total = sum(int(d) * w for d, w in zip(body, [2, 7, 6, 5, 4, 3, 2])) + (4 if lead in "TG" else 0)
    return lead + body + ("JZIHGFEDCBA" if lead in "ST" else "XWUTRQPNMLK")[total % 11]


def se_personnummer(r):
    year, month, day = date(r, 1940, 2005)
    body = f"{year % 100:02d}{month:02d}{day:02d}"
    number = digits(r, 3)
    tail = number + luhn_digit(body + number)
    return r.choice([f"{body}-{tail}", f"{year // 100}{body}-{tail}", f"{year // 100}{body}{tail}"])


def kr_rrn(r):
    year, month, day = date(r, 1950, 2010)
    body = f"{year % 100:02d}{month:02d}{day:02d}{(3 if year >= 2000 else 1) + r.randrange(2)}{r.randrange(96):02d}{digits(r, 3)}"
    check = (11 - sum(int(d) * w for d, w in zip(body, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5])) % 11) % 10
    return f"{body[:6]}-{body[6:]}{check}"


def au_tfn(r):
    while True:
        body = str(1 + r.randrange(9)) + digits(r, 8)
        if sum(int(d) * w for d, w in zip(body, [1, 4, 3, 7, 5, 8, 6, 9, 10])) % 11 == 0:
            return r.choice([body, groups(body, [3, 3, 3], " ")])


def ca_sin(r):
    body = r.choice("1245679") + digits(r, 7)
    return groups(body + luhn_digit(body), [3, 3, 3], r.choice([" ", "-"]))
