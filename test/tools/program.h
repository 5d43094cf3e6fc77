// Runs a program and keeps what it wrote: for tests that use the command line as people do.
#pragma once
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace bitnet::test {

inline std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}
inline std::string binary(const std::string &name) { return environment("BITNET_BIN_DIR") + "/" + name; }

/// A path in a folder of this test program's own, removed at its end.
inline std::string scratch(const std::string &name) {
  static const struct Folder {
    std::string path = (std::filesystem::temp_directory_path() / "bitnet-tools-XXXXXX").string();
    Folder() {
      if (!mkdtemp(path.data()))
        std::abort();
    }
    ~Folder() { std::filesystem::remove_all(path); }
  } folder;
  return folder.path + "/" + name;
}

inline std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
/// Writes the text to a scratch file and returns its path.
inline std::string fileWith(const std::string &name, const std::string &text) {
  std::ofstream(scratch(name), std::ios::binary) << text;
  return scratch(name);
}

/// Starts a program with these three as its standard input, output and error. Closes nothing.
inline pid_t start(std::vector<std::string> command, int in, int out, int err) {
  std::vector<char *> arguments;
  for (std::string &argument : command)
    arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGINT, SIG_DFL); // a shell that starts tests in the background has it ignored
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  return child;
}

/// Exit code, or 128 + signal.
inline int waitFor(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Ran {
  int code;
  std::string out, err;
};

inline Ran run(std::vector<std::string> command, const std::string &input = "") {
  const int in = open(fileWith("stdin", input).c_str(), O_RDONLY | O_CLOEXEC);
  const int out = open(scratch("stdout").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int err = open(scratch("stderr").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int code = waitFor(start(std::move(command), in, out, err));
  for (int file : {in, out, err})
    close(file);
  return {code, contents(scratch("stdout")), contents(scratch("stderr"))};
}

inline Ran runBitnet(std::vector<std::string> arguments, const std::string &input = "") {
  arguments.insert(arguments.begin(), binary("bitnet"));
  return run(std::move(arguments), input);
}

} // namespace bitnet::test
