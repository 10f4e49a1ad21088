import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func adam(
    parameters p: Floats, gradients g: Floats, firstMoment m: Floats, secondMoment v: Floats,
    step: AdamStep
  ) throws {
    precondition(g.count == p.count && m.count == p.count && v.count == p.count, "one arena shape")
    let kernel = try commonKernel("adam")
    var arguments = Arguments(kernel)
    try arguments.add(p)
    try arguments.add(g)
    try arguments.add(m)
    try arguments.add(v)
    try arguments.add(p.count)
    try arguments.add(step.beta1)
    try arguments.add(1 - step.beta1)
    try arguments.add(step.beta2)
    try arguments.add(1 - step.beta2)
    try arguments.add(step.stepSize)
    try arguments.add(step.secondMomentScale)
    try arguments.add(step.epsilon)
    try launchElementwise(kernel, count: p.count)
  }

  func launchElementwise(_ kernel: Kernel, count: Int) throws {
    guard count > 0 else { return }
    let block = family.elementwiseBlock
    try launch(
      kernel, as: kernel.name, global: ((count + block - 1) / block, 1),
      local: (localSize(kernel), 1))
  }
}
