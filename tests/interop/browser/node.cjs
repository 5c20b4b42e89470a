// A JsSIP user agent under Node: registers over a WebSocket, writes to somebody, prints what it is written, and
// ends well once it has both an answer and a message. Arguments: WebSocket URL, user, peer.
const JsSIP = require('jssip');
global.WebSocket = require('ws');

const [url, user, peer] = process.argv.slice(2);
const agent = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(url)],
  uri: `sip:${user}@lab.test`,
  password: 'secret',
  display_name: 'Ännä "Q" ☃',
  register_expires: 120,
});

const done = { answered: false, written: false };
function finish(what) {
  done[what] = true;
  if (done.answered && done.written) {
    agent.on('unregistered', () => setTimeout(() => process.exit(0), 100));
    agent.unregister();
  }
}
function fail(what, event) {
  console.log(`${what}: ${event.cause || event.code || ''}`);
  process.exit(1);
}

agent.on('registered', () => {
  console.log('registered');
  agent.sendMessage(`sip:${peer}@lab.test`, '{"Body":"grüße ☃"}', {
    contentType: 'application/x-myphone-confbridge-chat+json',
    eventHandlers: {
      succeeded: (event) => {
        console.log(`answered ${event.response.status_code}`);
        finish('answered');
      },
      failed: (event) => fail('message failed', event),
    },
  });
});
agent.on('registrationFailed', (event) => fail('registration failed', event));
agent.on('newMessage', ({ originator, request }) => {
  if (originator === 'remote') {
    console.log(`written ${request.getHeader('Content-Type')} ${request.body}`);
    finish('written');
  }
});
agent.start();
