"""Writes labelled sentences, one JSON object a line: {"text", "spans": [[kind, start, end]]}, offsets in characters.

    python3 bench/redact/generate.py --seed 2026 --count 6000 > sentences.jsonl

The same seed gives the same bytes (Python's own generator, no dependencies). Half of the sentences hold nothing to be found: order
numbers, versions, dates, hashes, sums and identifiers whose check digit is wrong.
"""

import argparse
import json
import random
import uuid

import identifiers as make

NEUTRAL = ["Here it is: {}", "{}", "Please use {} from now on.", "I wrote down {}, I hope that is right.", "The value on file is {}.",
           "She answered with {} and left.", "Customer said \"{}\" twice.", "see ({}) in the notes", "Updated to {}; the old one is void.",
           "- {}\n- second line", "Can you check {}?", "First field,{},last field", "Is {} still correct?", "From the form: [{}]"]

# kind: (maker, sentences that name it). A number without a check digit or marks of its own is labelled only where its name stands before it.
KINDS = {
    "EMAIL": (make.email, ["Write to {} today.", "My e-mail is {}.", "Contact: {}", "Send it to <{}> please", "email={}", "mailto:{}",
                           "Cc {} and close the ticket."]),
    "PHONE": (make.phone, ["Call me at {} tomorrow.", "My phone number is {}.", "Tel. {}", "Mobile: {}", "Ring {} after six.",
                           "WhatsApp {} works as well", "phone={}"]),
    "CARD": (make.card, ["My card number is {}.", "Charge {} please.", "Visa or not, it is {}, expiry 04/29.", "credit card {}", "card={}"]),
    "IBAN": (make.iban, ["IBAN {}", "Transfer the rent to {} by Friday.", "My account is {}.", "iban:{}", "Bank details: {} (Anna)"]),
    "IP": (make.ip, ["Request from {} was blocked.", "The server's address is {}.", "ping {}", "Failed login for root from {} port 22",
                     "client_ip={}"]),
    "US_SSN": (lambda r: r.choice(["-", "-", " "]).join(make.us_ssn(r)), ["My SSN is {}.", "Social security number: {}", "ssn={}"]),
    "US_ITIN": (make.us_itin, ["My ITIN is {}.", "ITIN: {}", "taxpayer number {}"]),
    "UK_NHS": (make.uk_nhs, ["NHS number {}", "The patient's NHS no. is {}.", "nhs: {}"]),
    "UK_NINO": (make.uk_nino, ["My NI number is {}.", "National Insurance: {}", "NINO {}"]),
    "DE_TAX_ID": (make.de_tax_id, ["Meine Steuer-ID ist {}.", "IdNr. {}", "Steueridentifikationsnummer: {}"]),
    "FR_NIR": (make.fr_nir, ["Mon num\u00e9ro de s\u00e9curit\u00e9 sociale est {}.", "NIR {}", "N\u00b0 s\u00e9cu : {}"]),
    "ES_DNI": (make.es_dni, ["Mi DNI es {}.", "DNI: {}", "NIF {}"]),
    "ES_NIE": (make.es_nie, ["Mi NIE es {}.", "NIE: {}", "n\u00famero {}"]),
    "IT_FISCAL_CODE": (make.it_fiscal_code, ["Il mio codice fiscale \u00e8 {}.", "C.F. {}", "CF: {}"]),
    "IN_AADHAAR": (make.in_aadhaar, ["My Aadhaar is {}.", "Aadhaar number: {}", "UIDAI {}"]),
    "IN_PAN": (make.in_pan, ["My PAN is {}.", "PAN: {}", "permanent account number {}"]),
    "PL_PESEL": (make.pl_pesel, ["M\u00f3j PESEL to {}.", "PESEL: {}"]),
    "FI_HETU": (make.fi_hetu, ["Henkil\u00f6tunnus on {}.", "HETU: {}"]),
    "SG_NRIC": (make.sg_nric, ["My NRIC is {}.", "NRIC/FIN: {}"]),
    "SE_PERSONNUMMER": (make.se_personnummer, ["Mitt personnummer \u00e4r {}.", "Personnummer: {}"]),
    "KR_RRN": (make.kr_rrn, ["My resident registration number is {}.", "RRN: {}"]),
    "AU_TFN": (make.au_tfn, ["My tax file number is {}.", "TFN: {}"]),
    "CA_SIN": (make.ca_sin, ["My social insurance number is {}.", "SIN: {}"]),
}
NAMED_ONLY = {"AU_TFN"}


def positive(r, kind):
    maker, named = KINDS[kind]
    value = maker(r)
    label = value[4:] if value.startswith("tel:") else value
    template = r.choice(named) if kind in NAMED_ONLY or r.randrange(3) else r.choice(NEUTRAL)
    text = template.format(value)
    start = text.index(value) + len(value) - len(label)
    return text, [[kind, start, start + len(label)]]


def bare_ssn(r):
    value = "".join(make.us_ssn(r))
    text = r.choice(["My SSN is {}.", "Social security number: {}", "ssn={}"]).format(value)
    return text, [["US_SSN", text.index(value), text.index(value) + 9]]


def spoiled(r, text):
    """The same identifier with one digit changed, which every check digit here must notice."""
    places = [i for i, c in enumerate(text) if c.isdigit()][4:]
    at = r.choice(places)
    return text[:at] + str((int(text[at]) + 1 + r.randrange(8)) % 10) + text[at + 1:]


def near_miss(r):
    """A failed check digit. Kinds whose single changed digit might make another valid identifier are left out."""
    kind = r.choice(["card", "iban", "dni", "cf"])
    maker = {"card": make.card, "iban": make.iban, "dni": make.es_dni, "cf": make.it_fiscal_code}[kind]
    return r.choice(["The sample {} is made up.", "{}", "Serial {} was rejected.", "Reference {} in the archive."]).format(spoiled(r, maker(r)))


def negative(r):
    n = r.randrange
    day, month, year = 1 + n(28), 1 + n(12), 2000 + n(30)
    hexes = lambda count: "".join(f"{n(16):x}" for _ in range(count))
    return r.choice([
        lambda: f"Order {n(10**8, 10**9)} shipped on {year}-{month:02d}-{day:02d}.",
        lambda: f"Your order number is {n(10, 1000)}-{n(10**6, 10**7)}-{n(10**6, 10**7)}.",
        lambda: f"Invoice #{n(10**5, 10**6)} over {n(1, 99)},{n(100, 1000)}.{n(10, 100)} EUR",
        lambda: f"Upgrade from version {n(9)}.{n(20)}.{n(400)} to {n(9)}.{n(20)}.{n(400)}-rc.{n(9)}",
        lambda: f"Chrome/{100 + n(40)}.0.{n(4000, 7000)}.{n(256, 999)} on build {n(10**4, 10**5)}",
        lambda: f"Firmware v{n(20)}.{n(20)}.{n(20)}.{n(200)} is out.",
        lambda: f"The meeting on {day:02d}.{month:02d}.{year} at {n(24):02d}:{n(60):02d} is moved to {day:02d}/{month:02d}/{year}.",
        lambda: f"{year}-{month:02d}-{day:02d}T{n(24):02d}:{n(60):02d}:{n(60):02d}.{n(1000):03d}Z INFO started in {n(10**4)} ms",
        lambda: f"timestamp={1_600_000_000 + n(2 * 10**8)}",
        lambda: f"updated_at: {1_600_000_000_000 + n(2 * 10**11)}",
        lambda: f"Request {uuid.UUID(int=r.getrandbits(128), version=4)} failed.",
        lambda: f"sha256:{hexes(64)}",
        lambda: f"commit {hexes(40)} by the bot, short {hexes(7)}",
        lambda: f"md5 {hexes(32)}",
        lambda: f"{n(1000)} + {n(1000)} = {n(2000)}, and {n(100)} * {n(100)} = {n(10000)}",
        lambda: f"pi is 3.14159265358979323846, e is 2.718281828459045, and {n(10**6)}/{1 + n(1000)} is {n(10**4)}.{n(10**6)}",
        lambda: f"The GDP was {n(1, 30)},{n(100, 1000)},{n(100, 1000)},{n(100, 1000)} dollars in {year}.",
        lambda: f"Coordinates {n(90)}.{n(10**5, 10**6)}, -{n(180)}.{n(10**5, 10**6)}",
        lambda: f"MAC {':'.join(hexes(2) for _ in range(6))}",
        lambda: f"Pages {n(100)}-{100 + n(100)} and {200 + n(100)}-{300 + n(100)}, chapter {n(20)}.{n(20)}.{n(20)}",
        lambda: f"pip install numpy=={n(3)}.{n(30)}.{n(10)} and npm i lodash@{n(5)}.{n(20)}.{n(30)}",
        lambda: f"Thanks @user{n(1000)} and @team-{n(10)}, see #{n(10000)}.",
        lambda: f"Score {n(7)}-{n(7)}, {n(7)}-{n(7)}, {n(7)}-{n(7)} in {n(60)}:{n(60):02d}",
        lambda: f"Lottery: {' '.join(str(1 + n(49)) for _ in range(6))}, bonus {n(10)}",
        lambda: f"Years {year} {year + 1} {year + 2} {year + 3} were good.",
        lambda: f"Table: {' '.join(str(n(10, 1000)) for _ in range(8))}",
        lambda: f"Model X-{n(100, 1000)}-{n(10, 100)}B, part {make.letters(r, 3)}-{n(10**4)}",
        lambda: f"Colour #{hexes(6)} at {n(1920)}x{n(1080)}, z-index {n(10**4)}",
        lambda: f"std::vector<int> v{{{n(100)}, {n(100)}}}; ns::call(a::b, {n(100)});",
        lambda: f"At {n(24):02d}:{n(60):02d}:{n(60):02d} the ratio was {n(100)}:{n(100)}.",
        lambda: f"Licence plate {make.letters(r, 2)}{n(10, 100)} {make.letters(r, 3)}, room {n(100, 1000)}",
        lambda: f"Flight {make.letters(r, 2)} {n(100, 10000)} leaves gate {make.letters(r, 1)}{n(100)} at {n(24):02d}:{n(60):02d}.",
        lambda: f"Population {n(1, 999)} {n(100, 1000)} {n(100, 1000)} in {year}",
        lambda: f"Use range({n(100)}, {n(10**4)}, {1 + n(10)}) or x[{n(10)}:{n(100)}] here.",
        lambda: near_miss(r), lambda: near_miss(r), lambda: near_miss(r),
    ])()


def sentence(r):
    roll = r.randrange(20)
    if roll < 9:
        return positive(r, r.choice(list(KINDS)))
    if roll == 9:
        return bare_ssn(r) if r.randrange(4) == 0 else positive(r, r.choice(["EMAIL", "PHONE", "CARD", "IBAN", "IP"]))
    if roll == 10:  # two in one text
        (first, spans), (second, more) = positive(r, r.choice(list(KINDS))), positive(r, r.choice(list(KINDS)))
        join = r.choice(["\n", " Also: "])
        return first + join + second, spans + [[k, a + len(first + join), b + len(first + join)] for k, a, b in more]
    return negative(r), []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--count", type=int, default=6000)
    arguments = parser.parse_args()
    r = random.Random(arguments.seed)
    for _ in range(arguments.count):
        text, spans = sentence(r)
        print(json.dumps({"text": text, "spans": spans}, ensure_ascii=False))


if __name__ == "__main__":
    main()
