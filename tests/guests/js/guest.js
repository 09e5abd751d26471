import { write } from 'syncline:plugin/log@0.1.0';

// The engine has no TextDecoder; the words looked for are ASCII. In pieces, because the number of
// arguments is limited.
function text(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 1024) {
    text += String.fromCharCode(...bytes.subarray(at, at + 1024));
  }
  return text;
}

// No 64-bit integer may go to the host: the engine refuses a BigInt where the types ask for one.
export const handler = {
  describe() {
    return {
      name: 'guest-js',
      version: '0.1.0',
      description: '',
      accepts: [],
      targets: [],
      lookups: [],
      secrets: [],
      capabilities: [],
      configSchema: undefined,
      attributes: [],
    };
  },

  init() {},

  process({ data, delivery }) {
    write('info', 'seen', [['lang', 'js']]);

    const words = text(data);
    if (words.includes('drop')) return { tag: 'drop', val: 'asked to' };
    if (words.includes('reject')) return { tag: 'reject', val: 'asked to' };
    if (words.includes('retry')) return { tag: 'retry', val: { reason: 'asked to', afterMs: 5 } };
    if (words.includes('crash')) throw new Error('asked to crash');

    const effect = {
      target: undefined,
      entity: undefined,
      operation: 'upsert',
      key: delivery.key,
      precondition: undefined,
      contentType: 'application/json',
      headers: [],
      payload: data,
    };
    return { tag: 'accept', val: { effects: [effect], next: { tag: 'stop' } } };
  },
};
