"""The page over plain HTTP with the steps that make a phone trust the app's certificate, in English and German.

Nobody vouches for what it says: what counts is what the phone shows of the certificate, beside the terminal.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

CA_NAME = "bear-alarm-ca.crt"

PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: auto; padding: 1rem }}
body {{ hyphens: auto; overflow-wrap: anywhere }}
a.step {{ display: inline-block; min-height: 3rem; line-height: 3rem; font-weight: bold }}
pre {{ font-size: 1.1rem }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

TITLES = {"en": "Bear Alarm: trust this server", "de": "Bärenalarm: diesem Server vertrauen"}

BODIES = {
    "en": """\
<p><a class="step" href="/de" lang="de" hreflang="de">Deutsch</a></p>
<h1>Bear Alarm</h1>
<p>{why} Install one certificate, once for each phone or computer.
Browsers that check its limits accept it for private networks and .local names only.</p>
<ol>
<li><a class="step" href="/{ca}">Download the certificate</a></li>
<li>Install it: see your phone below.</li>
<li>Compare the SHA-256 fingerprint that <strong>the phone shows</strong> of the certificate with the one in the
terminal of your computer. <strong>Compare the phone with the terminal, not with this page.</strong>
If one character differs, remove the certificate: it came from somebody else.
This page was made for the certificate with<pre>{fingerprint}</pre></li>
<li><a class="step" href="{app}">Open the alarm</a>: {app}{by_name}</li>
{install}
</ol>
<h2>Android</h2>
<p>The names differ a little from phone to phone. Use Chrome.</p>
<ol>
<li>Open Settings and search for “CA certificate”
(Security and privacy, More security settings, Encryption and credentials, Install a certificate).</li>
<li>Choose “CA certificate”, then “Install anyway”, then the downloaded file {ca}.</li>
<li>Fingerprint: Settings, Encryption and credentials, Trusted credentials, tab “User”, tap the certificate.</li>
</ol>
<h2>iPhone and iPad</h2>
<ol>
<li>Use Safari. Tap “Allow” when it asks to download a configuration profile.</li>
<li>Open Settings, General, VPN and Device Management. Tap the profile, then “More Details” for the fingerprint.</li>
<li>Tap “Install”.</li>
<li>Open Settings, General, About, Certificate Trust Settings. Switch this certificate on.</li>
</ol>
<h2>Afterwards</h2>
<p>Remove the certificate in the same place when you no longer use the alarm.</p>""",
    "de": """\
<p><a class="step" href="/en" lang="en" hreflang="en">English</a></p>
<h1>Bärenalarm</h1>
<p>{why} Installieren Sie ein Zertifikat, einmal auf jedem Telefon oder Computer.
Browser, die seine Grenzen prüfen, nehmen es nur für private Netze und .local-Namen an.</p>
<ol>
<li><a class="step" href="/{ca}">Zertifikat herunterladen</a></li>
<li>Installieren Sie es: siehe unten bei Ihrem Telefon.</li>
<li>Vergleichen Sie den SHA-256-Fingerabdruck, den <strong>das Telefon</strong> vom Zertifikat <strong>zeigt</strong>,
mit dem im Terminal Ihres Computers. <strong>Vergleichen Sie das Telefon mit dem Terminal, nicht mit dieser
Seite.</strong> Wenn ein Zeichen abweicht, entfernen Sie das Zertifikat: Es kam von jemand anderem.
Diese Seite gehört zum Zertifikat mit<pre>{fingerprint}</pre></li>
<li><a class="step" href="{app}">Alarm öffnen</a>: {app}{by_name}</li>
{install}
</ol>
<h2>Android</h2>
<p>Die Namen sind von Telefon zu Telefon etwas anders. Verwenden Sie Chrome.</p>
<ol>
<li>Öffnen Sie die Einstellungen und suchen Sie nach „CA-Zertifikat“
(Sicherheit und Datenschutz, Weitere Sicherheitseinstellungen, Verschlüsselung und Anmeldedaten,
Zertifikat installieren).</li>
<li>Wählen Sie „CA-Zertifikat“, dann „Trotzdem installieren“, dann die heruntergeladene Datei {ca}.</li>
<li>Fingerabdruck: Einstellungen, Verschlüsselung und Anmeldedaten, Vertrauenswürdige Anmeldedaten, Tab „Nutzer“;
tippen Sie auf das Zertifikat.</li>
</ol>
<h2>iPhone und iPad</h2>
<ol>
<li>Verwenden Sie Safari. Tippen Sie auf „Zulassen“, wenn es fragt, ob ein Konfigurationsprofil geladen werden
darf.</li>
<li>Öffnen Sie Einstellungen, Allgemein, VPN und Geräteverwaltung. Tippen Sie auf das Profil und dann auf
„Mehr Details“: Dort steht der Fingerabdruck.</li>
<li>Tippen Sie auf „Installieren“.</li>
<li>Öffnen Sie Einstellungen, Allgemein, Info, Zertifikatsvertrauenseinstellungen. Schalten Sie dieses Zertifikat
ein.</li>
</ol>
<h2>Danach</h2>
<p>Entfernen Sie das Zertifikat an derselben Stelle, wenn Sie den Alarm nicht mehr verwenden.</p>""",
}

# Why to install it, and what comes after: for the web app for phones, and for the page of a device.
APP = {
    "en": (
        "The phone opens its camera only for a page that it trusts.",
        "<li>Add it to the home screen, open it from there and wait for “Ready, also without signal”.</li>",
    ),
    "de": (
        "Das Telefon öffnet seine Kamera nur für eine Seite, der es vertraut.",
        "<li>Legen Sie ihn auf den Startbildschirm, öffnen Sie ihn dort. Warten Sie auf „Bereit, auch ohne Netz“.</li>",
    ),
}
DEVICE = {
    "en": (
        "The alarm's page is encrypted, so that nobody in this network reads it or its passphrase.",
        """</ol>
<h2>Computer</h2>
<ol>
<li>In the settings of Firefox or Chrome, search for “certificates”, open “Authorities” and choose “Import”.</li>""",
    ),
    "de": (
        "Die Seite des Alarms ist verschlüsselt, damit niemand im Netz sie oder die Passphrase mitliest.",
        """</ol>
<h2>Computer</h2>
<ol>
<li>Suchen Sie in den Einstellungen von Firefox oder Chrome nach „Zertifikate“, öffnen Sie „Zertifizierungsstellen“
und wählen Sie „Importieren“.</li>""",
    ),
}

BY_NAME = {
    "en": "or {link}, which stays when the address changes (works on most phones; if not, use the address above).",
    "de": "oder {link}: Diese Adresse bleibt, wenn sich die andere ändert (geht auf den meisten Telefonen; "
    "wenn nicht, verwenden Sie die Adresse darüber).",
}


def steps_page(
    language: str, fingerprint: Sequence[str], app_url: str, name_url: str | None, *, device: bool = False
) -> bytes:
    """Return the page in a language, "en" or "de"; ``fingerprint``: its lines; ``device``: for the page of a device."""
    why, install = (DEVICE if device else APP)[language]
    by_name = ""
    if name_url:
        url = html.escape(name_url)
        by_name = "<br>" + BY_NAME[language].format(link=f'<a class="step" href="{url}">{url}</a>')
    body = BODIES[language].format(
        ca=CA_NAME,
        fingerprint=html.escape("\n".join(fingerprint)),
        app=html.escape(app_url),
        by_name=by_name,
        why=why,
        install=install,
    )
    return PAGE.format(language=language, title=TITLES[language], body=body).encode()
