"""Microsoft Presidio's findings for labelled sentences, in the form that `score.py` reads. Needs the packages in requirements.txt.

    python3 bench/redact/presidio.py sentences.jsonl > presidio.jsonl

Its pattern recognisers need no language model, so a blank spaCy pipeline stands in for one. All recognisers for the kinds that both
tools have are switched on, those that are off by default too, whatever language they are filed under.
"""

import inspect
import json
import logging
import sys

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from spacy.language import Language

KINDS = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP", "US_SSN": "US_SSN",
    "US_ITIN": "US_ITIN", "UK_NHS": "UK_NHS", "UK_NINO": "UK_NINO", "DE_TAX_ID": "DE_TAX_ID", "ES_NIF": "ES_DNI", "ES_NIE": "ES_NIE",
    "IT_FISCAL_CODE": "IT_FISCAL_CODE", "IN_AADHAAR": "IN_AADHAAR", "IN_PAN": "IN_PAN", "PL_PESEL": "PL_PESEL",
    "FI_PERSONAL_IDENTITY_CODE": "FI_HETU", "SG_NRIC_FIN": "SG_NRIC", "SE_PERSONNUMMER": "SE_PERSONNUMMER", "KR_RRN": "KR_RRN",
    "AU_TFN": "AU_TFN", "CA_SIN": "CA_SIN",
}


@Language.component("lower_lemmas")
def lower_lemmas(doc):
    """Presidio looks for its context words among the lemmas, which a blank pipeline lacks."""
    for token in doc:
        token.lemma_ = token.lower_
    return doc


class Blank(SpacyNlpEngine):
    """A tokenizer without a model."""

    def __init__(self):
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}], ner_model_configuration=NerModelConfiguration())
        pipeline = spacy.blank("en")
        pipeline.add_pipe("lower_lemmas")
        self.nlp = {"en": pipeline}

    def load(self):
        pass

    def is_loaded(self):
        return True


def analyzer():
    registry = RecognizerRegistry(supported_languages=["en"])
    have = set()
    for name, recognizer in inspect.getmembers(predefined_recognizers, inspect.isclass):
        try:
            made = recognizer(supported_language="en")
        except Exception:  # those that need a service or a model
            continue
        wanted = set(getattr(made, "supported_entities", [])) & set(KINDS)
        if wanted and type(made).__module__.count("nlp_engine_recognizers") == 0 and type(made).__module__.count(".ner.") == 0:
            registry.add_recognizer(made)
            have |= wanted
    missing = set(KINDS) - have
    if missing:
        sys.exit(f"no recogniser for {sorted(missing)}")
    return AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])


def main():
    logging.disable(logging.WARNING)
    engine = analyzer()
    for line in open(sys.argv[1], encoding="utf-8"):
        text = json.loads(line)["text"]
        results = engine.analyze(text=text, language="en", entities=list(KINDS))
        print(json.dumps([[KINDS[r.entity_type], r.start, r.end, r.score] for r in results]))


if __name__ == "__main__":
    main()
