/** Every sentence that a user reads, in each language. Missing ones are a type error. */

const en = {
  // Watching
  appName: "Bear Alarm",
  // Events
  eventsNone: "No events yet.",
  eventsStored: (used: string, quota: string) => `This site uses ${used} of ${quota} that the browser gives it.`,
  eventsBear: "Bear",
  eventsCamera: "Camera",
  eventsHealth: "App",
  eventsTest: "Test alarm",
  eventsSure: "very likely a bear",
  eventsLikely: "likely a bear",
  eventsMaybe: "possibly a bear",
  eventsSpecies: { brown_bear: "Brown bear", black_bear: "Black bear", polar_bear: "Polar bear" } as Record<string, string>,
  eventsLasted: (time: string) => `lasted ${time}`,
  eventsSeconds: (count: number) => `${count} s`,
  eventsMinutes: (count: number) => `${count} min`,
  eventsHours: (hours: number, minutes: number) => `${hours} h ${minutes} min`,
  eventsGoingOn: "still going on",
  eventsCutOff: "cut off: the app ended before it was over",
  eventsZones: (names: string) => `in ${names}`,
  eventsPicture: (time: string) => `What the camera saw at ${time}`,
  eventsNoPicture: "No picture was kept.",
  eventsNotStored: "Not stored yet: the storage is full or broken.",
  eventsWhat: "What was it?",
  eventsConfirmed: "A bear",
  eventsWrong: "No bear",
  eventsUnsure: "Not sure",
  eventsOther: "Another animal or thing",
  eventsOthers: {
    fox: "Fox", boar: "Wild boar", dog: "Dog", cat: "Cat", deer: "Deer", cow: "Cow", person: "Person",
    teddy_bear: "Toy bear", other: "Something else",
  } as Record<string, string>,
  eventsReviewed: (what: string) => `Reviewed: ${what}`,
  eventsExported: "exported",
  eventsExport: "Export reviewed events",
  eventsNoneReviewed: "Say what some events show first. Then you can export them.",
  eventsExportDone: (count: number) =>
    count === 1 ? "1 event is in the zip file. Import it on a computer: bear-alarm feedback import." : `${count} events are in the zip file. Import it on a computer: bear-alarm feedback import.`,
  eventsExportFailed: "The export failed. Close other apps and try again.",
  eventsDelete: "Delete exported events",
  eventsDeleteAsk: "Delete all exported events from this phone? Check first that you still have the zip file.",
  eventsDeleted: (count: number) => (count === 1 ? "1 event was deleted." : `${count} events were deleted.`),
  eventsNoneExported: "No exported events are on this phone.",
  eventsTrouble: {
    full: "The storage is full. New events are shown here, but they are lost when the app closes. Export reviewed events and delete them.",
    broken: "The browser cannot store events. They are shown here, but they are lost when the app closes.",
  },
  // Installing
  installFaults: {
    unsupported: "This browser cannot keep the app for use without signal. Open it over HTTPS, and not in a private window.",
    offline: "The download broke off. Go where there is signal and try again. What is here already is kept.",
    missing: "A file is missing on the server. Copy the whole folder of the app to it again, then try again.",
    damaged: "A file on the server is not what it should be. Copy the whole folder of the app to it again, then try again.",
    full: "The phone has no room for the app. Free 50 MB, then try again.",
    "model-missing": "The model is no longer on this phone: the browser deleted it. Go where there is signal and open the app once.",
  },
  installAppMissing: "The app is no longer on this phone: the browser deleted it. Go where there is signal and open it once.",
  installAgain: "Try again",
  installProgress: (percent: number) => `Getting ready to work without signal: ${percent} %`,
  installOffer: { app: "A new version of the app is ready.", model: "A new model is ready." },
  installRestart: "Restart now",
};

export type Texts = typeof en;

const de: Texts = {
  // Watching
  appName: "Bärenalarm",
  // Events
  eventsNone: "Noch keine Ereignisse.",
  eventsStored: (used, quota) => `Diese Seite belegt ${used} von ${quota}, die der Browser ihr gibt.`,
  eventsBear: "Bär",
  eventsCamera: "Kamera",
  eventsHealth: "App",
  eventsTest: "Probealarm",
  eventsSure: "sehr wahrscheinlich ein Bär",
  eventsLikely: "wahrscheinlich ein Bär",
  eventsMaybe: "vielleicht ein Bär",
  eventsSpecies: { brown_bear: "Braunbär", black_bear: "Schwarzbär", polar_bear: "Eisbär" },
  eventsLasted: (time) => `dauerte ${time}`,
  eventsSeconds: (count) => `${count} s`,
  eventsMinutes: (count) => `${count} min`,
  eventsHours: (hours, minutes) => `${hours} h ${minutes} min`,
  eventsGoingOn: "dauert noch an",
  eventsCutOff: "abgebrochen: die App endete, bevor es vorbei war",
  eventsZones: (names) => `in ${names}`,
  eventsPicture: (time) => `Was die Kamera um ${time} sah`,
  eventsNoPicture: "Kein Bild wurde aufbewahrt.",
  eventsNotStored: "Noch nicht gespeichert: der Speicher ist voll oder gestört.",
  eventsWhat: "Was war es?",
  eventsConfirmed: "Ein Bär",
  eventsWrong: "Kein Bär",
  eventsUnsure: "Unsicher",
  eventsOther: "Ein anderes Tier oder Ding",
  eventsOthers: {
    fox: "Fuchs", boar: "Wildschwein", dog: "Hund", cat: "Katze", deer: "Reh oder Hirsch", cow: "Kuh", person: "Mensch",
    teddy_bear: "Spielzeugbär", other: "Etwas anderes",
  },
  eventsReviewed: (what) => `Beurteilt: ${what}`,
  eventsExported: "exportiert",
  eventsExport: "Beurteilte Ereignisse exportieren",
  eventsNoneReviewed: "Sagen Sie zuerst, was einige Ereignisse zeigen. Dann können Sie sie exportieren.",
  eventsExportDone: (count) =>
    `${count === 1 ? "1 Ereignis ist" : `${count} Ereignisse sind`} in der Zip-Datei. Importieren Sie sie auf einem Computer: bear-alarm feedback import.`,
  eventsExportFailed: "Der Export schlug fehl. Schließen Sie andere Apps und versuchen Sie es noch einmal.",
  eventsDelete: "Exportierte Ereignisse löschen",
  eventsDeleteAsk: "Alle exportierten Ereignisse von diesem Telefon löschen? Prüfen Sie zuerst, dass Sie die Zip-Datei noch haben.",
  eventsDeleted: (count) => (count === 1 ? "1 Ereignis wurde gelöscht." : `${count} Ereignisse wurden gelöscht.`),
  eventsNoneExported: "Auf diesem Telefon sind keine exportierten Ereignisse.",
  eventsTrouble: {
    full: "Der Speicher ist voll. Neue Ereignisse stehen hier, gehen aber verloren, wenn die App endet. Exportieren Sie beurteilte Ereignisse und löschen Sie sie.",
    broken: "Der Browser kann keine Ereignisse speichern. Sie stehen hier, gehen aber verloren, wenn die App endet.",
  },
  // Installing
  installFaults: {
    unsupported: "Dieser Browser kann die App nicht für die Zeit ohne Netz aufbewahren. Öffnen Sie sie über HTTPS und nicht in einem privaten Fenster.",
    offline: "Das Herunterladen brach ab. Gehen Sie dorthin, wo es Netz gibt, und versuchen Sie es noch einmal. Was schon hier ist, bleibt.",
    missing: "Auf dem Server fehlt eine Datei. Kopieren Sie den ganzen Ordner der App noch einmal dorthin und versuchen Sie es dann wieder.",
    damaged: "Eine Datei auf dem Server ist nicht so, wie sie sein soll. Kopieren Sie den ganzen Ordner der App noch einmal dorthin und versuchen Sie es dann wieder.",
    full: "Das Telefon hat keinen Platz für die App. Machen Sie 50 MB frei und versuchen Sie es dann wieder.",
    "model-missing": "Das Modell ist nicht mehr auf diesem Telefon: der Browser hat es gelöscht. Öffnen Sie die App einmal dort, wo es Netz gibt.",
  },
  installAppMissing: "Die App ist nicht mehr auf diesem Telefon: der Browser hat sie gelöscht. Öffnen Sie sie einmal dort, wo es Netz gibt.",
  installAgain: "Noch einmal versuchen",
  installProgress: (percent) => `Wird für die Zeit ohne Netz vorbereitet: ${percent} %`,
  installOffer: { app: "Eine neue Version der App ist bereit.", model: "Ein neues Modell ist bereit." },
  installRestart: "Jetzt neu starten",
};

const LANGUAGES: Record<string, Texts> = { en, de };

/** Return the texts of the first language that there is; English if there is none. */
export function textsFor(languages: readonly string[]): { readonly language: string; readonly text: Texts } {
  const language = languages.map((each) => each.slice(0, 2)).find((each) => each in LANGUAGES) ?? "en";
  return { language, text: LANGUAGES[language] };
}
