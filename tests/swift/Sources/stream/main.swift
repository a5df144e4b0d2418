// Streams a WAV file to a Sluice gateway as the Mac app does, and prints what it is told.
//
//     swift run --package-path tests/swift stream FILE.wav URL TOKEN
//
// There is no Mac where this was written: it has been neither compiled nor run. The workflow `macos` would do both.
//
// It uses URLSessionWebSocketTask and nothing else, because that is what decides what a user of the app
// sees: the error frame, then the close code and the reason. The last line is `closed CODE REASON`.

import Foundation

/// Prints a line to standard error, and ends with the status that `sluice stream` has for the same.
func fail(_ status: Int32, _ message: String) -> Never {
    FileHandle.standardError.write(Data((message + "\n").utf8))
    exit(status)
}

/// The samples of a canonical WAV file: 16-bit PCM behind a header of 44 bytes, as the gateway's own.
struct Clip {
    let sampleRate: Int
    let channels: Int
    let samples: Data

    init(path: String) {
        guard let file = FileManager.default.contents(atPath: path) else {
            fail(1, "\(path) cannot be opened")
        }
        func number(_ at: Int, _ bytes: Int) -> Int {
            (0..<bytes).reduce(0) { $0 | Int(file[at + $1]) << (8 * $1) }
        }
        guard file.count >= 44, file.prefix(4) == Data("RIFF".utf8), file[36..<40] == Data("data".utf8),
            number(20, 2) == 1, number(34, 2) == 16
        else {
            fail(1, "\(path) is no WAV file of 16-bit PCM with a header of 44 bytes")
        }
        channels = number(22, 2)
        sampleRate = number(24, 4)
        samples = file.dropFirst(44)
    }
}

/// Tells how the connection ended, also when URLSession reports no error for it.
final class Delegate: NSObject, URLSessionWebSocketDelegate {
    func urlSession(
        _ session: URLSession, webSocketTask: URLSessionWebSocketTask,
        didCloseWith code: URLSessionWebSocketTask.CloseCode, reason: Data?
    ) {
        print("closed \(code.rawValue) \(String(decoding: reason ?? Data(), as: UTF8.self))")
        exit(code.rawValue == 1000 ? 0 : 3)
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: Error?) {
        // NSURLErrorDomain -1011 here is the incident that Sluice exists for: an upgrade that was not answered 101.
        let error = error.map { $0 as NSError }
        fail(4, "not connected: \(error?.domain ?? "") \(error?.code ?? 0) \(error?.localizedDescription ?? "")")
    }
}

func json(_ message: [String: Any]) -> String {
    guard let data = try? JSONSerialization.data(withJSONObject: message) else { return "{}" }
    return String(decoding: data, as: UTF8.self)
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let url = URL(string: arguments[2]) else {
    fail(2, "usage: stream FILE.wav URL TOKEN")
}
let clip = Clip(path: arguments[1])
var request = URLRequest(url: url)
request.setValue("Bearer \(arguments[3])", forHTTPHeaderField: "Authorization")

let session = URLSession(configuration: .ephemeral, delegate: Delegate(), delegateQueue: nil)
let task = session.webSocketTask(with: request)
task.resume()

/// Sends everything behind the handshake at once, as the app may, and says `finalize` at the end.
func stream() async throws {
    let handshake: [String: Any] = [
        "type": "handshake", "sample_rate": clip.sampleRate, "channels": clip.channels, "codec": "pcm_s16le",
        "device_id": UUID().uuidString, "client": "macclient", "version": "1.0.0",
    ]
    try await task.send(.string(json(handshake)))
    var rest = clip.samples
    while !rest.isEmpty {
        try await task.send(.data(Data(rest.prefix(3200))))
        rest = rest.dropFirst(3200)
    }
    try await task.send(.string(json(["type": "finalize"])))
}

/// Prints every message, until the delegate is told of the Close.
func listen() async throws {
    while true {
        switch try await task.receive() {
        case .string(let text): print("message \(text)")
        case .data(let data): print("message of \(data.count) bytes")
        @unknown default: print("message of an unknown kind")
        }
    }
}

// A send or receive fails when the gateway closes; the delegate says how it closed, and ends the process.
Task { try? await stream() }
Task { try? await listen() }
RunLoop.main.run()
