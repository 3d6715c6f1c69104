'use strict';
// Drives the npm package dicomweb-client, unchanged, and prints one JSON object of what it got.
// Usage: node dicomweb_client.cjs FOLDER_WITH_NODE_MODULES URL FILE
const fs = require('fs');
const { createHash } = require('crypto');

const [modules, url, file] = process.argv.slice(2);
const load = (name) => require(require.resolve(name, { paths: [modules] }));
globalThis.XMLHttpRequest = load('xhr2');
const { api } = load('dicomweb-client');

const digest = (data) => createHash('sha256').update(Buffer.from(data)).digest('hex');
const start = (data, length) => Buffer.from([data].flat()[0]).subarray(0, length).toString('hex');
const value = (object, tag) => object[tag].Value[0];

async function main() {
  const client = new api.DICOMwebClient({ url });
  const bytes = fs.readFileSync(file);
  const dataset = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  await client.storeInstances({ datasets: [dataset] });

  const [study] = await client.searchForStudies();
  const studyInstanceUID = value(study, '0020000D');
  const [series] = await client.searchForSeries({ studyInstanceUID });
  const seriesInstanceUID = value(series, '0020000E');
  const [instance] = await client.searchForInstances({ studyInstanceUID, seriesInstanceUID });
  const uids = { studyInstanceUID, seriesInstanceUID, sopInstanceUID: value(instance, '00080018') };
  const queryParams = { PatientID: value(study, '00100020') };

  const [metadata] = await client.retrieveStudyMetadata(uids);
  const { BulkDataURI } = metadata['7FE00010'];
  const ofSeries = await client.retrieveSeriesMetadata(uids);
  const ofInstance = await client.retrieveInstanceMetadata(uids);
  const rendered = (mediaType) => ({ ...uids, frameNumbers: [1], mediaTypes: [{ mediaType }] });

  process.stdout.write(JSON.stringify({
    uids,
    found: (await client.searchForStudies({ queryParams })).length,
    metadata: [metadata, ofSeries[0], ofInstance[0]].map((each) => digest(JSON.stringify(each))),
    files: [
      await client.retrieveInstance(uids),
      ...(await client.retrieveSeries(uids)),
      ...(await client.retrieveStudy(uids)),
    ].map(digest),
    pixels: [
      ...(await client.retrieveInstanceFrames({ ...uids, frameNumbers: [1] })),
      ...(await client.retrieveBulkData({ BulkDataURI })),
    ].map(digest),
    png: start(await client.retrieveInstanceRendered(rendered('image/png')), 4),
    jpegs: [
      await client.retrieveInstanceFramesRendered(rendered('image/jpeg')),
      await client.retrieveInstanceThumbnail(rendered('image/jpeg')),
      await client.retrieveInstanceFramesThumbnail(rendered('image/jpeg')),
    ].map((data) => start(data, 3)),
  }));
}

main().catch((error) => {
  console.error(error.message, error.status, error.request && error.request._url && error.request._url.href);
  process.exit(1);
});
