//! Signatures of tokens, by the cryptography that TLS has here.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as algorithms;
use ring::signature::{
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// Has `jsonwebtoken` ask this file, which is what it asks from then on.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        jwk_utils: JwkUtils::new_unimplemented(),
    };
    // That it is there already is as good.
    let _installed = PROVIDER.install_default();
}

/// Nothing is signed here.
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Signature {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

struct Signature {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                of_rsa(self.algorithm).map(|parameters| {
                    RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
                })
            }
            DecodingKeyKind::SecretOrDer(key) => of_curve(self.algorithm)
                .map(|algorithm| UnparsedPublicKey::new(algorithm, key).verify(message, signature)),
        };
        match verified {
            Some(Ok(())) => Ok(()),
            _ => Err(signature::Error::new()),
        }
    }
}

fn of_rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &algorithms::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &algorithms::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &algorithms::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn of_curve(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::ES256 => &algorithms::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &algorithms::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &algorithms::ED25519,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// A key, and its signatures of `signed` as RS256 and PS256: made by OpenSSL.
    const MODULUS: &str = "jgCr18TQJRXwlo4md3H1kiAncBjA9Q9vPvb8HofNpN0s-QGwFNnqw7paU1oQ-CmSBdgJZ8whaVepLxTMJH7xwtUX\
        7Snd2Kl5gUSIxFgThOYu28kNvZdxdhia0XhoGYOq0feSuViRDI0GybSKDVzn3kl6NGL666DF7HUJ-QOHyHI45wiU\
        yFQlrpxSXRemz0UUcZIRgMF7mh_xu7HvflZHgaSdmkfPjlcblg_7nlE1soez8wcXfgXXQudNF-8xNEjaWdx-GaBm\
        EXkFoZTHquVjlwpp0ZDDy72ogDgxU-Z8Agj3agkE_hNeo0Z_tdffAyV-55OuKLTLS1sOl3b1JnwrfQ";
    const PKCS1: &str = "LIHdKsEnAvTR2XKLjGVlb7pkynJKU04c5XXp2TpqJa3u0956JVDU_1RcRhTmJzAeGW5QCVHkHjnlRTJt7xZG_SAw\
        7QjsSnrf8l8fsdr9BOLhl0vcqaggMw2R1TBl8vegfJr3D2agzgxXhEai85Rf7sZepaZyOAiBNPD-GZixgNysb_Rz\
        Cc07H9yD5JmIBiNLQbge9AoZEC6qF8vG4Gqvc8MIzjEpZh8ibQI5JmBDcOrzhtGqgxtf2XNs4_07ldifhxnMdOHq\
        P6j1SoeRpiwzlIIeF_VdCtw5UW8v9INh0rIEN-8hwCqXErDhoTZVM_fbDiexKZ1VpRaXhJKUkR_z9A";
    const PSS: &str = "KN9kwPM1QW3dzOim_sY9c0OVd9fJI_PZ1VeDNOXS7_a8DjTmjcSkPEmt3CCqt-IFmN5zozwpLIiU1oxpBU0cAgRA\
        CHimD8m1HHSHwgmEBEGs-Our1OpKZNb1NoEFOMCSg3IrbASiXmnZAFTIllpOze7K-nEERr01OUqthySo_L25xzsp\
        6a4kMvcLjYu3sIxHS5k1OdCj39ZZm5JU8by1pNRhY42xaOzfAuh41t3-59a8a4yiS57SIAGxnV5l-EywlpW2fxkE\
        zyTzEGW3am_OGfd43rhMipjLAqcGGg1dpZxeCVk5bnHI0dBCfvg53e_I_veH4KupG1II1llEdDphSw";

    #[test]
    fn a_signature_holds_for_its_message_and_its_algorithm_alone() {
        let key = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        let holds = |algorithm: Algorithm, signature: &str, message: &str| {
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let verifier = verifier(&algorithm, &key).unwrap();
            verifier.verify(message.as_bytes(), &signature).is_ok()
        };
        assert!(holds(Algorithm::RS256, PKCS1, "signed"));
        assert!(holds(Algorithm::PS256, PSS, "signed"));
        assert!(!holds(Algorithm::RS256, PKCS1, "designed"));
        assert!(!holds(Algorithm::RS384, PKCS1, "signed"));
        assert!(!holds(Algorithm::PS256, PKCS1, "signed"));
        assert!(!holds(Algorithm::RS256, PSS, "signed"));
        for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(verifier(&other, &key).is_err(), "{other:?}");
        }
    }
}
