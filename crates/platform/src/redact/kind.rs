//! The kinds of personal data and secrets, their stable names, and what a tenant may ask to be done about them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What to do with personal data in a text.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The text passes as it is.
    #[default]
    Off,
    /// Each finding is replaced by its marker.
    Mask,
    /// A text with a finding is turned down.
    Refuse,
}

macro_rules! kinds {
    ($($variant:ident $name:literal $about:literal,)+) => {
        /// A kind of finding. The names are stable: they stand in masked texts, metrics and audit rows.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind {
            $(#[doc = $about] $variant,)+
        }

        impl Kind {
            /// Every kind, in the order of the enum.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name, as `EMAIL`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What stands in a masked text in place of the finding, as `[EMAIL]`.
            #[must_use]
            pub fn marker(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("[", $name, "]"),)+
                }
            }
        }
    };
}

kinds! {
    Email "EMAIL" "An e-mail address.",
    Phone "PHONE" "A telephone number, international or in a common national form.",
    Card "CARD" "A payment card number: known range and length, Luhn's check digit.",
    Iban "IBAN" "An international bank account number: country's structure, modulus 97.",
    Ip "IP" "An IPv4 or IPv6 address.",
    UsSsn "US_SSN" "United States: social security number.",
    UsItin "US_ITIN" "United States: individual taxpayer identification number.",
    UkNino "UK_NINO" "United Kingdom: national insurance number.",
    UkNhs "UK_NHS" "United Kingdom: NHS number, modulus 11.",
    DeTaxId "DE_TAX_ID" "Germany: Steuer-Identifikationsnummer, ISO 7064 modulus 11,10.",
    FrNir "FR_NIR" "France: numéro de sécurité sociale, modulus 97.",
    EsDni "ES_DNI" "Spain: DNI, modulus 23.",
    EsNie "ES_NIE" "Spain: NIE, modulus 23.",
    ItFiscalCode "IT_FISCAL_CODE" "Italy: codice fiscale, modulus 26.",
    InAadhaar "IN_AADHAAR" "India: Aadhaar, Verhoeff.",
    InPan "IN_PAN" "India: permanent account number.",
    PlPesel "PL_PESEL" "Poland: PESEL, date and weighted sum.",
    NlBsn "NL_BSN" "Netherlands: burgerservicenummer, modulus 11.",
    BeNationalNumber "BE_NATIONAL_NUMBER" "Belgium: national register number, modulus 97.",
    SePersonnummer "SE_PERSONNUMMER" "Sweden: personnummer, date and Luhn.",
    FiHetu "FI_HETU" "Finland: henkilötunnus, date and modulus 31.",
    BrCpf "BR_CPF" "Brazil: CPF, two check digits.",
    SgNric "SG_NRIC" "Singapore: NRIC and FIN, check letter.",
    KrRrn "KR_RRN" "South Korea: resident registration number.",
    AuTfn "AU_TFN" "Australia: tax file number, modulus 11.",
    CaSin "CA_SIN" "Canada: social insurance number, Luhn.",
    ChAhv "CH_AHV" "Switzerland: AHV number, EAN-13.",
    CnResidentId "CN_RESIDENT_ID" "China: resident identity number, ISO 7064 modulus 11-2.",
    AwsKey "AWS_KEY" "Amazon Web Services: access key id, or secret access key beside its name.",
    GithubToken "GITHUB_TOKEN" "GitHub: personal, OAuth, app and refresh tokens.",
    SlackToken "SLACK_TOKEN" "Slack: tokens and incoming webhooks.",
    GoogleKey "GOOGLE_KEY" "Google: API keys, OAuth tokens and client secrets.",
    StripeKey "STRIPE_KEY" "Stripe: secret and restricted keys, webhook secrets.",
    AiKey "AI_KEY" "Keys of model services: OpenAI, Anthropic and others of that style.",
    OrreryKey "ORRERY_KEY" "A key of this service.",
    ApiKey "API_KEY" "Keys of other services with a prefix of their own.",
    Jwt "JWT" "A JSON Web Token.",
    PrivateKey "PRIVATE_KEY" "A private key in PEM or OpenPGP armour.",
    BearerToken "BEARER_TOKEN" "What follows `Bearer` or `Basic` in an authorization header.",
    Password "PASSWORD" "The value beside a name such as `password` or `client_secret`, or in a URL.",
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
