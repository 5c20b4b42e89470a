// A participant with SIP.js.

let agent;
let session;
let constraints;

async function start({ url, user, name, number, hertz, video }) {
  const { Inviter, Registerer, SessionState, UserAgent, Web } = SIP;
  const stream = await media(hertz, video);
  constraints = { audio: true, video };
  agent = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user}@lab.test`),
    displayName: name,
    authorizationUsername: user,
    authorizationPassword: 'secret',
    transportOptions: { server: url },
    logLevel: 'error',
    sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(async () => stream),
  });
  await agent.start();
  await new Registerer(agent).register();
  note('registered');
  session = new Inviter(agent, UserAgent.makeURI(`sip:${number}@lab.test`), {
    sessionDescriptionHandlerOptions: { constraints },
  });
  session.delegate = {
    onSessionDescriptionHandler: (handler) => watch(handler.peerConnection),
    onInvite: ({ body }) => {
      offered = body;
    },
    onMessage: (message) => {
      const { request } = message;
      messages.push({
        from: request.from.displayName,
        type: request.getHeader('Content-Type'),
        body: request.body,
      });
      message.accept();
    },
  };
  session.stateChange.addListener((news) => note(news === SessionState.Established ? 'confirmed' : news));
  await session.invite();
}

async function say(type, body) {
  return new Promise((done) => {
    const status = (response) => done(response.message.statusCode);
    session.message({
      requestOptions: { body: { contentDisposition: 'render', contentType: type, content: body } },
      requestDelegate: { onAccept: status, onReject: status },
    });
  });
}

function leave() {
  session.bye();
}

// Makes an offer inside the call.
function renegotiate(offer) {
  return new Promise((done, failed) => {
    session.invite({
      // Others than before would let it take microphone and camera once more.
      sessionDescriptionHandlerOptions: { constraints, offerOptions: offer },
      requestDelegate: {
        onAccept: () => done(true),
        onReject: ({ message }) => failed(new Error(message.statusCode)),
      },
    });
  });
}
